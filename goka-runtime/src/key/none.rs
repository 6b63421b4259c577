//! The key type of streams without keys.

use super::{AsKey, Key};
use crate::codec::{Codec, CodecError};

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
