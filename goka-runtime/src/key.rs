//! Record keys: [`Key`], the types of keys, and [`AsKey`], the types that may be passed for them. [`Ordered`] and
//! [`OrderedKey`] are for keys whose bytes are in the order of their values, [`NoKey`] is for records without keys.

pub(crate) mod ordered;

pub use self::ordered::{Composite, Ordered, OrderedKey, PrefixOf, prefix};
use crate::codec::{Codec, CodecError, Format, format_of, utf8};

/// A type of record keys. It is its own codec, whose bytes decide the partition and the order in a table.
///
/// ```
/// # use goka_runtime::key as goka;
/// use goka::Key;
///
/// assert_eq!(<String as Key>::view(b"alice"), Ok("alice"));
/// assert_eq!(<u64 as Key>::view(b"17"), Ok(17));
/// assert!(<u64 as Key>::view(b"alice").is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a record key",
    label = "not a key type",
    note = "keys are `String`, integers, `Vec<u8>`, `Uuid`, tuples of those, and types with `#[derive(goka::Key)]`"
)]
pub trait Key: Codec<Value = Self> {
    /// The type that [`Context::key`](crate::context::Context::key) returns: borrowed from the record, or the key
    /// itself.
    type Ref<'r>;

    /// Whether records have no keys; true for [`NoKey`] only.
    const IS_NONE: bool = false;

    /// Whether each key has one form only: all bytes that decode to a key are the bytes that it encodes to.
    ///
    /// Where it is false, a group with a table or joined tables encodes the key of each record again
    /// and stops at a record whose key is written in another form (`007`, an upper-case `Uuid`): each
    /// form would have a row of its own.
    const IS_CANONICAL: bool = false;

    /// Decodes a key, without a copy if possible.
    ///
    /// # Errors
    /// When the bytes are not a key of this type.
    fn view(bytes: &[u8]) -> Result<Self::Ref<'_>, CodecError>;
}

impl Key for String {
    type Ref<'r> = &'r str;
    const IS_CANONICAL: bool = true;

    fn view(bytes: &[u8]) -> Result<&str, CodecError> {
        utf8(bytes)
    }
}

impl Key for Vec<u8> {
    type Ref<'r> = &'r [u8];
    const IS_CANONICAL: bool = true;

    fn view(bytes: &[u8]) -> Result<&[u8], CodecError> {
        Ok(bytes)
    }
}

macro_rules! owned {
    ($($type:ty)*) => {$(
        impl Key for $type {
            type Ref<'r> = Self;

            fn view(bytes: &[u8]) -> Result<Self, CodecError> {
                Self::decode(bytes)
            }
        }
    )*};
}

owned!(i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 uuid::Uuid);

/// The codec of a key, for the commands. Text in any form becomes the bytes that the codec writes.
pub(crate) const fn format_of_key<K: Key>() -> Format {
    let format = format_of::<K>();
    if K::IS_CANONICAL {
        return format;
    }
    Format {
        parse: parse::<K>,
        canonical: Some(canonical::<K>),
        ..format
    }
}

fn canonical<K: Key>(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    K::encode(&K::decode(bytes)?, out)
}

fn parse<K: Key>(text: &str) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    canonical::<K>(&K::parse(text)?, &mut bytes)?;
    Ok(bytes)
}

/// A type that may be passed as a key of type `K`: `K`, `&K`, `&str` for `String`, `&[u8]` for `Vec<u8>`.
///
/// ```
/// # use goka_runtime::key as goka;
/// use goka::AsKey;
///
/// let mut out = Vec::new();
/// AsKey::<String>::put(&"alice", &mut out)?;
/// AsKey::<u64>::put(&17, &mut out)?;
/// assert_eq!(out, b"alice17");
/// # Ok::<(), goka_runtime::codec::CodecError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a key of type `{K}` cannot be given as `{Self}`",
    label = "not a `{K}` key"
)]
pub trait AsKey<K> {
    /// Writes the key to the end of `out`.
    ///
    /// # Errors
    /// When the key does not encode.
    fn put(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;
}

impl<K: Key> AsKey<K> for K {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        K::encode(self, out)
    }
}

impl<K: Key> AsKey<K> for &K {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        K::encode(self, out)
    }
}

impl AsKey<String> for &str {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(self.as_bytes());
        Ok(())
    }
}

impl AsKey<Vec<u8>> for &[u8] {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(self);
        Ok(())
    }
}

impl<const N: usize> AsKey<Vec<u8>> for &[u8; N] {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(self.as_slice());
        Ok(())
    }
}

/// The key type of a stream that is declared `keyless`. Records are written with null keys, and keys of records
/// that are read are ignored.
///
/// It has one value, for which `()` may be passed.
///
/// ```
/// # use goka_runtime::key as goka;
/// use goka::{Key, NoKey};
///
/// assert_eq!(NoKey::view(b"anything")?, NoKey);
/// # Ok::<(), goka_runtime::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoKey;

impl Codec for NoKey {
    type Value = Self;
    const NAME: &'static str = "none";

    fn encode(_: &Self, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(_: &[u8]) -> Result<Self, CodecError> {
        Ok(Self)
    }
}

impl Key for NoKey {
    type Ref<'r> = Self;
    const IS_NONE: bool = true;
    const IS_CANONICAL: bool = true;

    fn view(_: &[u8]) -> Result<Self, CodecError> {
        Ok(Self)
    }
}

impl AsKey<NoKey> for () {
    fn put(&self, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// The form in which bytes are written again, if that is another one.
    fn other<K: Key>(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut form = Vec::new();
        let canonical = format_of_key::<K>().canonical?;
        canonical(bytes, &mut form).expect("it decodes");
        (form != bytes).then_some(form)
    }

    #[test]
    fn a_key_in_another_form_is_told_from_its_own() {
        const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        for form in [
            ID.to_uppercase(),
            format!("{{{ID}}}"),
            format!("urn:uuid:{ID}"),
            ID.replace('-', ""),
        ] {
            assert_eq!(other::<Uuid>(form.as_bytes()), Some(ID.into()), "{form}");
        }
        for form in ["007", "+7"] {
            assert_eq!(other::<u64>(form.as_bytes()), Some(b"7".into()), "{form}");
        }
        assert_eq!(other::<i64>(b"-0"), Some(b"0".into()));
        assert_eq!(other::<Uuid>(ID.as_bytes()), None);
        assert_eq!(other::<u64>(b"7"), None);
        let mut pair = Vec::new();
        <(String, i64) as Codec>::encode(&("a".into(), -1), &mut pair).expect("it encodes");
        assert_eq!(other::<(String, i64)>(&pair), None);
        assert_eq!(other::<NoKey>(b""), None);
    }

    #[test]
    fn keys_that_have_one_form_are_not_encoded_again() {
        assert!(format_of_key::<String>().canonical.is_none());
        assert!(format_of_key::<Vec<u8>>().canonical.is_none());
    }

    #[test]
    fn text_stands_for_the_form_that_is_written() {
        let parse = format_of_key::<u64>().parse;
        assert_eq!(parse("007"), Ok(b"7".into()));
        assert!(parse("seven").is_err());
        let parse = format_of_key::<Uuid>().parse;
        let form = parse("67E55044-10B1-426F-9247-BB680E5FE0C8");
        assert_eq!(form, Ok(b"67e55044-10b1-426f-9247-bb680e5fe0c8".into()));
        assert_eq!((format_of_key::<String>().parse)("007"), Ok(b"007".into()));
    }
}
