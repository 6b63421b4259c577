//! Text, bytes, `bool` and `()`.

use std::fmt::Display;

use super::{Codec, CodecError, text};

impl Codec for String {
    type Value = Self;
    const NAME: &'static str = "utf8";

    fn encode(value: &Self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        utf8(bytes).map(str::to_owned)
    }
}

/// Reads UTF-8 without a copy.
#[inline]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(bytes).map_err(|error| refused::<String>(bytes, format_args!(": {error}")))
}

#[cold]
fn refused<C: Codec>(bytes: &[u8], why: impl Display) -> CodecError {
    CodecError::new(C::NAME, format!("{}{why}", text::excerpt(bytes)))
}

impl Codec for Vec<u8> {
    type Value = Self;
    const NAME: &'static str = "bytes";

    fn encode(value: &Self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(bytes.to_vec())
    }
}

/// `true` and `false`, as text.
impl Codec for bool {
    type Value = Self;
    const NAME: &'static str = "bool";

    fn encode(value: &Self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(if *value { b"true" } else { b"false" });
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        match bytes {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(refused::<Self>(bytes, " is not `true` or `false`")),
        }
    }
}

/// No bytes; a tombstone, in contrast, has no value.
impl Codec for () {
    type Value = Self;
    const NAME: &'static str = "unit";

    fn encode((): &Self, _out: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.is_empty() {
            return Ok(());
        }
        Err(refused::<Self>(bytes, " is not empty"))
    }
}

/// Written as text with hyphens, in lower case; other spellings are read, too.
impl Codec for uuid::Uuid {
    type Value = Self;
    const NAME: &'static str = "uuid";

    fn encode(value: &Self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let mut buffer = Self::encode_buffer();
        out.extend_from_slice(value.hyphenated().encode_lower(&mut buffer).as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::try_parse_ascii(bytes)
            .map_err(|error| refused::<Self>(bytes, format_args!(": {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::Codec;

    #[test]
    fn text_forms_come_back() {
        fn check<C: Codec>(bytes: &[u8], text: &str) {
            assert_eq!(C::show(bytes).as_deref(), Ok(text));
            assert_eq!(C::parse(text).as_deref(), Ok(bytes));
        }
        check::<String>("a\tb\\é".as_bytes(), r"a\tb\\é");
        check::<Vec<u8>>(b"\xffa\n", r"\xffa\n");
        check::<bool>(b"true", "true");
        check::<()>(b"", "");
        check::<i64>(b"-3", "-3");
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        check::<uuid::Uuid>(uuid.as_bytes(), uuid);
    }

    #[test]
    fn text_forms_are_checked() {
        assert!(<String as Codec>::parse(r"\xff").is_err());
        assert!(<String as Codec>::show(b"\xff").is_err());
        assert!(<bool as Codec>::parse("yes").is_err());
        assert!(<() as Codec>::show(b"x").is_err());
        assert!(<i64 as Codec>::parse("many").is_err());
        assert!(<uuid::Uuid as Codec>::parse("67e55044").is_err());
    }
}
