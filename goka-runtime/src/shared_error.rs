//! Errors of any type that clones share: a handler's, and the cause of another error. Pure.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What a handler fails with: made from any error by `?`, and from text by `into`.
///
/// It keeps the error that it was made from: [`downcast_ref`](Self::downcast_ref) finds it again, for instance in the
/// [`StopReason`](crate::processor::StopReason) of a partition. `{}` prints that error, `{:#}` its causes, too. Clones
/// share it, and two are equal when they print the same with their causes.
///
/// It does not implement [`std::error::Error`] itself, since `?` could not convert every error then; it dereferences
/// to the one that it holds.
///
/// ```
/// use goka_runtime::error::HandlerError;
///
/// fn parse(text: &str) -> Result<i64, HandlerError> {
///     let number: i64 = text.parse()?;
///     match number {
///         0 => Err("zero is not allowed".into()),
///         number => Ok(number),
///     }
/// }
///
/// let error = parse("ten").expect_err("not a number");
/// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
/// assert_eq!(parse("0").expect_err("zero").to_string(), "zero is not allowed");
/// ```
#[derive(Clone)]
pub struct HandlerError(Arc<dyn StdError + Send + Sync>);

/// The cause of another error: an error of any type, as a [`HandlerError`] is.
pub type SharedError = HandlerError;

impl HandlerError {
    /// The error that it was made from, if it is an `E`.
    ///
    /// ```
    /// use goka_runtime::error::HandlerError;
    ///
    /// let error = HandlerError::from(std::io::Error::other("no route"));
    /// assert!(error.downcast_ref::<std::io::Error>().is_some());
    /// assert!(error.downcast_ref::<std::fmt::Error>().is_none());
    /// ```
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        (*self.0).downcast_ref()
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl Deref for HandlerError {
    type Target = dyn StdError + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(&text)?;
        if !f.alternate() {
            return Ok(());
        }
        let (mut before, mut cause) = (text, self.0.source());
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors print their cause themselves.
            if !before.ends_with(&text) {
                write!(f, ": {text}")?;
                before = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for HandlerError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || format!("{self:#}") == format!("{other:#}")
    }
}

impl Eq for HandlerError {}

/// A handler panicked: the [`HandlerError`] that is made from it.
///
/// ```
/// use goka_runtime::error::{HandlerError, HandlerPanic};
///
/// let error = HandlerError::from(HandlerPanic { message: "index out of bounds".to_owned() });
/// assert_eq!(error.to_string(), "the handler panicked: index out of bounds");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the handler panicked: {message}")]
pub struct HandlerPanic {
    /// The text of the panic.
    pub message: String,
}

impl HandlerPanic {
    /// From what `catch_unwind` gives.
    pub(crate) fn of(payload: &(dyn Any + Send)) -> Self {
        Self {
            message: panic_text(payload).to_owned(),
        }
    }
}

/// The text of a panic, from what `catch_unwind` gives.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
}
