//! The types that a workload may give as values of records.

use crate::codec::{CodecError, CodecOf, Json};

/// A type that a workload may give as the value of a record of a topic with values of type `V`: `V`, a
/// reference to it, `&str` for a `String`, `Json<V>`, and `Option<V>`, where `None` is a tombstone.
///
/// ```
/// # use goka_runtime::{simulation::Workload, tester::doc::*};
/// // One record of ten deletes a user.
/// let workload = Workload::of::<ClickCount>().input(Clicks, 300, |dice| {
///     let user = format!("user-{}", dice.below(20));
///     (user, (!dice.chance(10)).then(|| "x".to_owned()))
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be fed where `{V}` travels",
    label = "expected `{V}`, found `{Self}`"
)]
pub trait FeedValue<V> {
    /// Appends the encoded value to `out`; returns `false` for a tombstone.
    ///
    /// # Errors
    /// When the codec refuses it.
    #[doc(hidden)]
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError>;
}

impl<V> FeedValue<V> for V {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        codec.encode(self, out).map(|()| true)
    }
}

impl<V> FeedValue<V> for &V {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        codec.encode(self, out).map(|()| true)
    }
}

impl<V> FeedValue<V> for Json<V> {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        codec.encode(&self.0, out).map(|()| true)
    }
}

impl FeedValue<String> for &str {
    fn put(&self, codec: &CodecOf<String>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        codec.encode(&(*self).to_owned(), out).map(|()| true)
    }
}

impl<V> FeedValue<V> for Option<V> {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        match self {
            Some(value) => codec.encode(value, out).map(|()| true),
            None => Ok(false),
        }
    }
}
