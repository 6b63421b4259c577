//! Numbers and names in the metadata of committed offsets, and in the notes of crashes.

use crate::record::Offset;

/// Parses 16 hexadecimal digits.
pub(super) fn hex(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Parses an offset; `None` if it is negative.
pub(super) fn offset(text: &str) -> Option<Offset> {
    text.parse().ok().filter(|offset| *offset >= 0)
}

/// Writes whatever is not visible ASCII, and the bytes that separate fields, as `%XX`.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"%;,".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Undoes [`escape`]; `None` for a malformed `%XX`, or bytes that are not UTF-8.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (code, tail) = tail.split_at_checked(2)?;
        if !code.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}
