//! Integers as decimal text, like `codec.Int64` of the Go library goka. All of them have one codec name, so an `i32`
//! can become an `i64` without another definition of the table.

use super::{Codec, CodecError, text};

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
                    .ok_or_else(|| refused(bytes, stringify!($type)))
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 u8 u16 u32 u64 u128);

#[cold]
fn refused(bytes: &[u8], expected: &str) -> CodecError {
    let found = text::excerpt(bytes);
    let reason = format!("{found} is not the decimal text of an `{expected}`");
    CodecError::new(<i64 as Codec>::NAME, reason)
}

#[cfg(test)]
mod tests {
    use super::Codec;
    use proptest::prelude::*;

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
