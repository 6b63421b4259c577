//! How a command ends when it does not end well: one line on stderr and an exit code. Every error
//! of the layers below becomes a [`CliError`] here and nowhere else.

use std::fmt;
use std::process::ExitCode;

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

/// A message on one line, whatever it was made of.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

macro_rules! fail_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                CliError::new(error)
            }
        })*
    };
}
fail_from!(
    crate::log::LogError,
    crate::table::StoreError,
    crate::emitter::EmitError,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("a\n  b\tc"), "a b c");
    }
}
