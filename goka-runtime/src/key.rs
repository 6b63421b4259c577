//! Record keys: what a handler sees of one without a copy, and what may be given as one. Keys whose
//! bytes are in the order of their values: [`Ordered`], [`OrderedKey`]; no keys at all: [`NoKey`].

mod none;
pub(crate) mod ordered;

pub use self::none::NoKey;
pub use self::ordered::{Composite, Ordered, OrderedKey, PrefixOf, prefix};
use crate::codec::{Codec, CodecError, utf8};

/// A type of record keys. Its own codec, whose bytes decide the partition and the order in a table.
///
/// ```
/// use goka_runtime::key::Key;
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
    /// What a handler sees: a view into the record, or the key itself.
    type Ref<'r>;

    /// Whether records have no keys at all; true of [`NoKey`] alone.
    const IS_NONE: bool = false;

    /// Looks at a key's bytes.
    ///
    /// # Errors
    /// When the bytes are not a key of this type.
    fn view(bytes: &[u8]) -> Result<Self::Ref<'_>, CodecError>;
}

impl Key for String {
    type Ref<'r> = &'r str;

    fn view(bytes: &[u8]) -> Result<&str, CodecError> {
        utf8(bytes)
    }
}

impl Key for Vec<u8> {
    type Ref<'r> = &'r [u8];

    fn view(bytes: &[u8]) -> Result<&[u8], CodecError> {
        Ok(bytes)
    }
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl Key for $type {
            type Ref<'r> = Self;

            fn view(bytes: &[u8]) -> Result<Self, CodecError> {
                Self::decode(bytes)
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 u8 u16 u32 u64 u128);

impl Key for uuid::Uuid {
    type Ref<'r> = Self;

    fn view(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::decode(bytes)
    }
}

/// What may be given as a key of type `K`: `K`, `&K`, `&str` for `String`, `&[u8]` for `Vec<u8>`.
///
/// ```
/// use goka_runtime::key::AsKey;
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
    /// When the key's codec refuses it.
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
