//! Numbers as big-endian bytes: Kafka's own serializers.

use super::{Codec, CodecError, text};

/// The codec that writes a number as big-endian bytes: `Be<i64>` is Kafka's `LongSerializer`,
/// `Be<i32>` and `Be<i16>` its `IntegerSerializer` and `ShortSerializer`, `Be<f64>` and `Be<f32>`
/// its `DoubleSerializer` and `FloatSerializer`.
///
/// It is for declarations (`value = Be<i64>`); handlers take and emit the number itself. As text, for the commands,
/// it is decimal. Bytes of another length are refused, as Kafka's deserializers refuse them.
///
/// ```
/// # use goka_runtime::codec as goka;
/// use goka::{Be, Codec};
///
/// let mut bytes = Vec::new();
/// Be::<i64>::encode(&258, &mut bytes)?;
/// assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 2]);
/// assert_eq!(Be::<i64>::show(&bytes)?, "258");
/// # Ok::<(), goka::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be<T>(pub T);

wrapper!(Be);

macro_rules! numbers {
    ($($type:ident $name:literal)*) => {$(
        impl Codec for Be<$type> {
            type Value = $type;
            const NAME: &'static str = $name;

            fn encode(value: &$type, out: &mut Vec<u8>) -> Result<(), CodecError> {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }

            fn decode(bytes: &[u8]) -> Result<$type, CodecError> {
                match bytes.try_into() {
                    Ok(bytes) => Ok($type::from_be_bytes(bytes)),
                    Err(_) => Err(CodecError::new($name, format!(
                        "{} bytes, expected {}: {}",
                        bytes.len(),
                        size_of::<$type>(),
                        text::excerpt(bytes)
                    ))),
                }
            }

            fn parse(text: &str) -> Result<Vec<u8>, CodecError> {
                match text.parse::<$type>() {
                    Ok(value) => Ok(value.to_be_bytes().to_vec()),
                    Err(error) => Err(CodecError::new($name, format!("`{text}`: {error}"))),
                }
            }

            fn show(bytes: &[u8]) -> Result<String, CodecError> {
                Self::decode(bytes).map(|value| value.to_string())
            }
        }
    )*};
}

numbers! {
    i8 "be-int8" i16 "be-int16" i32 "be-int32" i64 "be-int64" i128 "be-int128"
    u8 "be-uint8" u16 "be-uint16" u32 "be-uint32" u64 "be-uint64" u128 "be-uint128"
    f32 "be-float32" f64 "be-float64"
}

#[cfg(test)]
mod tests {
    use super::{Be, Codec};
    use proptest::prelude::*;

    /// What the serializers of kafka-clients 4.1.0 make, as their sources say: `>>> 56 .. >>> 0`,
    /// and `doubleToLongBits`.
    #[test]
    fn bytes_are_those_of_kafkas_serializers() {
        fn check<C: Codec>(text: &str, bytes: &[u8]) {
            assert_eq!(C::parse(text).as_deref(), Ok(bytes));
            assert_eq!(C::show(bytes).as_deref(), Ok(text));
        }
        check::<Be<i64>>("-2", b"\xff\xff\xff\xff\xff\xff\xff\xfe");
        check::<Be<i32>>("66051", b"\0\x01\x02\x03");
        check::<Be<i16>>("-32768", b"\x80\0");
        check::<Be<f64>>("1", b"\x3f\xf0\0\0\0\0\0\0");
        check::<Be<f64>>("-0.1", b"\xbf\xb9\x99\x99\x99\x99\x99\x9a");
        check::<Be<f32>>("NaN", b"\x7f\xc0\0\0");
    }

    #[test]
    fn other_lengths_and_texts_are_refused() {
        let error = Be::<i64>::decode(b"12").expect_err("two bytes");
        assert_eq!(error.to_string(), "not be-int64: 2 bytes, expected 8: `12`");
        assert!(Be::<i64>::decode(b"123456789").is_err());
        let error = Be::<i16>::parse("70000").expect_err("too many");
        assert!(error.to_string().starts_with("not be-int16: `70000`: "));
    }

    proptest! {
        #[test]
        fn numbers_come_back(long: i64, double: f64) {
            let bytes = Be::<i64>::parse(&long.to_string())?;
            prop_assert_eq!(Be::<i64>::decode(&bytes), Ok(long));
            let mut bytes = Vec::new();
            Be::<f64>::encode(&double, &mut bytes)?;
            prop_assert_eq!(Be::<f64>::parse(&Be::<f64>::show(&bytes)?)?, bytes);
        }
    }
}
