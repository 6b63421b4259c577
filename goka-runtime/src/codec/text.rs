//! Bytes as one line of text, and back. Used by the codecs' text forms.

use std::fmt::Write as _;

/// Bytes as one line: backslash, control characters and bytes that are not UTF-8 are escaped.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                c if c.is_ascii_control() => hex(&mut text, c as u8),
                // Other control characters have two bytes, which are escaped one by one.
                c if c.is_control() => {
                    let mut utf8 = [0; 4];
                    for byte in c.encode_utf8(&mut utf8).bytes() {
                        hex(&mut text, byte);
                    }
                }
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            hex(&mut text, *byte);
        }
    }
    text
}

fn hex(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("a string takes all text");
}

/// Undoes [`escape`].
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let word = rest.chars().next();
        bytes.push(match word {
            Some('\\') => b'\\',
            Some('t') => b'\t',
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('x') => rest
                .get(1..3)
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .ok_or("`\\x` takes two hexadecimal digits")?,
            Some(c) => return Err(format!("unknown escape `\\{c}`")),
            None => return Err("a backslash at the end; write `\\\\`".to_owned()),
        });
        rest = &rest[if word == Some('x') { 3 } else { 1 }..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// The beginning of some bytes in quotes, for errors.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let dots = if bytes.len() > SHOWN { ".." } else { "" };
    format!("`{}{dots}`", escape(cut))
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};
    use proptest::prelude::*;

    #[test]
    fn any_bytes_are_one_line() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            (b"", ""),
            (b"a\tb\nc\rd", r"a\tb\nc\rd"),
            (br"C:\new", r"C:\\new"),
            (b"\x1b[0m\0\x7f", r"\x1b[0m\x00\x7f"),
            ("Zürich\u{85}".as_bytes(), r"Zürich\xc2\x85"),
            (b"\xff\xfeab\xc3", r"\xff\xfeab\xc3"),
        ] {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text).as_deref(), Ok(bytes));
        }
    }

    #[test]
    fn unknown_escapes_are_refused() {
        for text in [r"\", r"\q", r"\x", r"\x1", r"\xgg", r"\xé"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn unescape_undoes_escape(bytes: Vec<u8>) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape(&text), Ok(bytes));
        }
    }
}
