//! Text, bytes, integers, `bool`, `()` and UUIDs.

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

/// Integers are decimal text, like `codec.Int64` of the Go library goka. All of them have one codec name, so an `i32` can
/// become an `i64` without another definition of the table.
///
/// Signed types read what Go's `strconv.ParseInt(s, 10, bits)` reads: an optional sign and decimal digits, within the
/// type's range. Unsigned ones read an optional `+` and digits.
macro_rules! integers {
    ($($type:ident)*) => {$(
        impl Codec for $type {
            type Value = Self;
            const NAME: &'static str = "integer";

            fn encode(value: &Self, out: &mut Vec<u8>) -> Result<(), CodecError> {
                out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
                Ok(())
            }

            fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                std::str::from_utf8(bytes)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| not_an_integer(bytes, stringify!($type)))
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 u8 u16 u32 u64 u128);

#[cold]
fn not_an_integer(bytes: &[u8], expected: &str) -> CodecError {
    let found = text::excerpt(bytes);
    let reason = format!("{found} is not the decimal text of an `{expected}`");
    CodecError::new(<i64 as Codec>::NAME, reason)
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
    use proptest::prelude::*;

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

    #[test]
    fn decodes_what_go_decodes() {
        for (bytes, value) in [
            (&b"0"[..], 0),
            (b"-0", 0),
            (b"+7", 7),
            (b"007", 7),
            (b"-9223372036854775808", i64::MIN),
            (b"9223372036854775807", i64::MAX),
        ] {
            assert_eq!(<i64 as Codec>::decode(bytes), Ok(value));
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for bytes in [
            &b""[..],
            b" 1",
            b"1 ",
            b"1\n",
            b"+",
            b"-",
            b"--1",
            b"1_000",
            b"0x10",
            b"1e3",
            b"1.0",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"\xff",
            "٣".as_bytes(),
        ] {
            assert!(<i64 as Codec>::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_reason_shows_the_bytes() {
        let error = <i64 as Codec>::decode(b"12\x00x").expect_err("a letter");
        assert_eq!(
            error.to_string(),
            r"not integer: `12\x00x` is not the decimal text of an `i64`"
        );
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(value: i64, wide: u128) {
            let mut out = Vec::new();
            <i64 as Codec>::encode(&value, &mut out)?;
            prop_assert_eq!(<i64 as Codec>::decode(&out), Ok(value));
            out.clear();
            <u128 as Codec>::encode(&wide, &mut out)?;
            prop_assert_eq!(<u128 as Codec>::decode(&out), Ok(wide));
        }
    }
}
