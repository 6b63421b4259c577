//! How a command fails: lines on standard error, and an exit code. The errors of the layers below name no
//! options of the command line; here they become a [`CliError`], with the option that corrects them.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::log::{LogError, MemberTimeout};
use crate::registry::RegistryError;
use crate::service::commands::CommandError;
use crate::service::data_dir::DataDirError;
use crate::service::error::RunError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CliError {
    /// The table has no such key: exit code 1.
    NoSuchKey(String),
    /// Any other errors, one a line: exit code 2.
    Errors(Vec<String>),
    /// The reader of standard output has closed it: exit code 0, since it wants no more.
    OutputClosed,
    HelpPrinted,
}

impl CliError {
    /// One error: what, where, what to do.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        CliError::Errors(vec![message.to_string()])
    }

    fn each<E: fmt::Display>(errors: &[E]) -> Self {
        CliError::Errors(errors.iter().map(ToString::to_string).collect())
    }

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
            CliError::OutputClosed | CliError::HelpPrinted => ExitCode::SUCCESS,
        }
    }
}

/// An error of standard output. A closed pipe is none: the reader, such as `head`, wants no more.
pub(crate) fn output(error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::new(format!("standard output: {error}")),
    }
}

pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The option that helps against an error of the log, which knows no options.
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
fn with_option(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(at) = cause {
        if let Some(option) = at.downcast_ref::<LogError>().and_then(option) {
            return format!("{error}; the option is {option}");
        }
        cause = at.source();
    }
    error.to_string()
}

impl From<LogError> for CliError {
    fn from(error: LogError) -> Self {
        CliError::new(with_option(&error))
    }
}

impl From<CommandError> for CliError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Log(error) => error.into(),
            CommandError::Emit(error) => CliError::new(with_option(&error)),
            error => CliError::new(error),
        }
    }
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        CliError::each(&error.findings)
    }
}

impl From<DataDirError> for CliError {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::File { .. } | DataDirError::Socket { .. } => CliError::new(error),
            DataDirError::IsFile { .. }
            | DataDirError::Unusable { .. }
            | DataDirError::InUse { .. } => {
                CliError::new(format!("{error} with `--data-dir` / GOKA_DATA_DIR"))
            }
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::DataDir(error) => error.into(),
            #[cfg(not(feature = "kafka"))]
            RunError::NoKafka { .. } => {
                CliError::new(format!("{error}, or leave `--brokers` / GOKA_BROKERS out"))
            }
            RunError::NoValue(lines) | RunError::Ended(lines) => CliError::Errors(lines),
            RunError::Start(errors) => {
                CliError::Errors(errors.iter().map(|error| with_option(error)).collect())
            }
            RunError::Log(error) => error.into(),
            RunError::Signal { .. } | RunError::Thread(_) => CliError::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::processor::StartError;

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("a\n  b\tc"), "a b c");
    }

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
            (with_option(&unreachable()), "`--brokers` / GOKA_BROKERS"),
            (with_option(&start), "`--brokers` / GOKA_BROKERS"),
            (with_option(&refused(MemberTimeout::Session)), "`--session`"),
            (
                with_option(&refused(MemberTimeout::Transaction)),
                "`--transaction-timeout`",
            ),
            (
                with_option(&LogError::UnknownTopic { topic }),
                "does not exist",
            ),
        ];
        for (message, end) in rows {
            assert!(message.ends_with(end), "{message}");
        }
    }

    #[test]
    fn an_error_of_the_data_directory_names_the_option() {
        let error = DataDirError::IsFile { path: "d".into() };
        let line =
            "data directory `d` is a file; name a directory with `--data-dir` / GOKA_DATA_DIR";
        assert_eq!(CliError::from(error), CliError::new(line));
    }
}
