//! The errors that belong to no single operation: the error of handlers, and the enum that every error of
//! this crate converts into. Pure.

use crate::codec::CodecError;
use crate::dispatch::ContextError;
use crate::emitter::EmitError;
use crate::log::LogError;
use crate::processor::{ProcessorError, StopReason};
use crate::registry::RegistryError;
#[cfg(feature = "cli")]
use crate::service::WaitError;
pub use crate::shared_error::{HandlerError, HandlerPanic, SharedError};
use crate::view::ViewError;
use crate::visit::VisitError;

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
    use std::error::Error as _;
    use std::io;

    use super::*;
    use crate::processor::FailedRecord;
    use crate::shared_error::panic_text;

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
            record: FailedRecord {
                topic: "payments".to_owned(),
                partition: 1,
                offset: 7,
                key: "ada".to_owned(),
            },
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
