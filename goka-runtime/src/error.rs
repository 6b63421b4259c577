//! The errors that belong to no single operation: the error of handlers, and the enum that every error of
//! this crate converts into. Pure.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::codec::CodecError;
use crate::dispatch::ContextError;
use crate::emitter::EmitError;
use crate::log::LogError;
use crate::processor::{ProcessorError, StopReason};
use crate::registry::RegistryError;
#[cfg(feature = "cli")]
use crate::service::WaitError;
use crate::view::ViewError;
use crate::visit::VisitError;

/// An error of any type, shared by its clones. Two are equal when they print the same with their causes.
///
/// It does not implement [`std::error::Error`], so that any error converts into it by `?`; it dereferences to
/// the error that it holds. `{}` prints that error, `{:#}` prints its causes, too.
///
/// ```
/// # use goka_runtime::error as goka;
/// use goka::SharedError;
///
/// let error = SharedError::from(std::io::Error::other("no route"));
/// assert_eq!(error.to_string(), "no route");
/// assert!(error.downcast_ref::<std::io::Error>().is_some());
/// ```
#[derive(Clone)]
pub struct SharedError(Arc<dyn StdError + Send + Sync>);

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for SharedError {
    fn from(error: E) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl Deref for SharedError {
    type Target = dyn StdError + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for SharedError {
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

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for SharedError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || format!("{self:#}") == format!("{other:#}")
    }
}

impl Eq for SharedError {}

/// The error of a handler: made from any error by `?`, and from text by `into`.
///
/// It keeps the error that it was made from: [`downcast_ref`](Self::downcast_ref) returns it, for instance from
/// the [`StopReason`] of a partition. `{}` prints that error, `{:#}` prints its causes, too.
///
/// It does not implement [`std::error::Error`] itself, since `?` could not convert every error then; it
/// dereferences to the error that it holds.
///
/// ```
/// # use goka_runtime::error as goka;
/// use goka::HandlerError;
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
#[derive(Clone, PartialEq, Eq)]
pub struct HandlerError(SharedError);

impl HandlerError {
    /// The error that it was made from, if it is an `E`.
    ///
    /// ```
    /// # use goka_runtime::error as goka;
    /// use goka::HandlerError;
    ///
    /// let error = HandlerError::from(std::io::Error::other("no route"));
    /// assert!(error.downcast_ref::<std::io::Error>().is_some());
    /// assert!(error.downcast_ref::<std::fmt::Error>().is_none());
    /// ```
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(SharedError::from(error))
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
        self.0.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error of a handler that panicked; a [`HandlerError`] holds it.
///
/// ```
/// # use goka_runtime::error as goka;
/// use goka::{HandlerError, HandlerPanic};
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
    /// From the payload that `catch_unwind` returns.
    pub(crate) fn of(payload: &(dyn Any + Send)) -> Self {
        Self {
            message: panic_text(payload).to_owned(),
        }
    }
}

/// The text of a panic, from the payload that `catch_unwind` returns.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
}

/// Any error of this crate, for a function that uses several parts of it. Each keeps its type and its
/// causes.
///
/// ```
/// # mod goka { pub use goka_runtime::{emitter::EmitError, error::Error}; }
/// use goka::{EmitError, Error};
///
/// fn is_of_an_emitter(error: &Error) -> bool {
///     matches!(error, Error::Emit(_))
/// }
///
/// let error = Error::from(EmitError::Closed { topic: "clicks".to_owned() });
/// assert!(is_of_an_emitter(&error));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A codec could not read or write.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An operation of a handler's context failed.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// An emitter failed.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The log failed: Kafka, or the embedded one.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A processor could not start, or ended.
    #[error(transparent)]
    Processor(#[from] ProcessorError),
    /// The processors of the program cannot run together.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A partition stopped.
    #[error(transparent)]
    Stopped(#[from] StopReason),
    /// A view failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A request for a visit failed.
    #[error(transparent)]
    Visit(#[from] VisitError),
    /// A wait for the program's processors failed.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Wait(#[from] WaitError),
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the payment was refused")]
    struct Refused(#[source] io::Error);

    fn pay() -> Result<(), HandlerError> {
        Err(Refused(io::Error::other("no route to the bank")))?;
        Ok(())
    }

    #[test]
    fn a_stop_reason_keeps_the_handlers_error_and_its_causes() {
        let reason = StopReason::Handler {
            topic: "payments".to_owned(),
            partition: 1,
            offset: 7,
            key: "ada".to_owned(),
            error: pay().expect_err("it is refused"),
        };
        let text = reason.to_string();
        assert!(
            text.contains("the payment was refused: no route to the bank"),
            "{text}"
        );
        let error = Error::from(reason);
        let refused = error.source().expect("the handler's error");
        let refused: &Refused = refused.downcast_ref().expect("it keeps its type");
        assert_eq!(refused.0.to_string(), "no route to the bank");
    }

    #[test]
    fn a_cause_that_the_error_prints_itself_is_printed_once() {
        let error = CodecError {
            codec: "json",
            reason: io::Error::other("expected value").into(),
        };
        let error = HandlerError::from(error);
        assert_eq!(format!("{error:#}"), "not json: expected value");
        assert_eq!(format!("{error}"), "not json: expected value");
        assert!(error.source().is_some_and(|cause| cause.is::<io::Error>()));
    }

    #[test]
    fn a_panic_has_a_text() {
        let payload = std::panic::catch_unwind(|| panic!("{} is odd", 3)).expect_err("it panics");
        assert_eq!(HandlerPanic::of(&*payload).message, "3 is odd");
        let payload = std::panic::catch_unwind(|| std::panic::panic_any(3)).expect_err("it panics");
        assert_eq!(panic_text(&*payload), "a panic without a text");
    }
}
