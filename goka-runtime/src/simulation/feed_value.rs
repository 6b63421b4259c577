//! What may be fed as a value.

use crate::codec::{CodecError, CodecOf, Json};

/// What may be fed where values of `V` travel: a value, a reference to one, `&str` for a `String`,
/// `Json` of one, and an `Option`, of which `None` is a tombstone.
///
/// ```
/// # use goka_runtime::tester::doc::*;
/// # use goka_runtime::simulation::Workload;
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
    /// Writes the value to the end of `out`; says whether it is one, and no tombstone.
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
