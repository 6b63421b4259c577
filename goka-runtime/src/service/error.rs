//! How a command ends when it does not end well: one line on stderr and an exit code. Every error
//! of the layers below becomes a [`CliError`] here and nowhere else.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::core::StopReason;
use crate::log::{LogError, MemberTimeout};

/// What ends a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CliError {
    /// Remote is no such key: exit code 1.
    NoSuchKey(String),
    /// Everything else, each line an error of its own: exit code 2.
    Errors(Vec<String>),
    /// Whoever read our output has gone: nothing to say, exit code 0.
    OutputClosed,
}

impl CliError {
    /// One error: what, where, what to do.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        CliError::Errors(vec![message.to_string()])
    }

    /// One error, with the option that helps where one does.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        CliError::Errors(vec![with_hint(error)])
    }

    /// Prints it, and says with what code to exit.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            CliError::NoSuchKey(line) => {
                eprintln!("{}", one_line(line));
                ExitCode::from(1)
            }
            CliError::Errors(lines) => {
                for line in lines {
                    eprintln!("error: {}", one_line(line));
                }
                ExitCode::from(2)
            }
            CliError::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// An error of standard output: a closed pipe is somebody's `head`, and fine.
pub(crate) fn output(error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::new(format!("standard output: {error}")),
    }
}

/// The option that helps against an error of the log, which does not know of options.
fn option(error: &LogError) -> Option<&'static str> {
    match error {
        LogError::Unreachable { .. } => Some("`--brokers` / GOKA_BROKERS"),
        LogError::TimeoutRefused { timeout, .. } => match timeout {
            MemberTimeout::Session => Some("`--session`"),
            MemberTimeout::Transaction => Some("`--transaction-timeout`"),
        },
        _ => None,
    }
}

/// An error, with the option that helps where it is an error of the log or is caused by one.
fn with_hint(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(at) = cause {
        if let Some(option) = at.downcast_ref::<LogError>().and_then(option) {
            return format!("{error}; the option is {option}");
        }
        cause = at.source();
    }
    error.to_string()
}

/// Why a partition or a processor has stopped, with the option that helps where one does.
pub(crate) fn stop_reason(reason: &StopReason) -> String {
    match reason {
        StopReason::Member(error) | StopReason::Input(error) => with_hint(error),
        reason => reason.to_string(),
    }
}

/// A message on one line, whatever it was made of.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

macro_rules! fail_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                CliError::of(&error)
            }
        })*
    };
}
fail_from!(
    LogError,
    crate::table::StoreError,
    crate::emitter::EmitError,
);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::processor::StartError;

    #[test]
    fn an_error_of_the_log_comes_with_the_option_that_helps() {
        let refused = |timeout| LogError::TimeoutRefused {
            timeout,
            given: Duration::from_millis(500),
            group: "group".to_owned(),
            reason: "too short".to_owned(),
        };
        let unreachable = || LogError::Unreachable {
            brokers: "localhost:1".to_owned(),
            reason: "refused".to_owned(),
        };
        let start = StartError::Log {
            group: "group".to_owned(),
            source: unreachable(),
        };
        let topic = "topic".to_owned();
        let rows = [
            (with_hint(&unreachable()), "`--brokers` / GOKA_BROKERS"),
            (with_hint(&start), "`--brokers` / GOKA_BROKERS"),
            (with_hint(&refused(MemberTimeout::Session)), "`--session`"),
            (
                stop_reason(&StopReason::Member(refused(MemberTimeout::Transaction))),
                "`--transaction-timeout`",
            ),
            (
                with_hint(&LogError::UnknownTopic { topic }),
                "does not exist",
            ),
        ];
        for (message, end) in rows {
            assert!(message.ends_with(end), "{message}");
        }
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("a\n  b\tc"), "a b c");
    }
}
