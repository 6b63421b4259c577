//! The flags and options of `run` that a program declares itself.

use std::collections::BTreeMap;

/// A flag or option that the program declares.
#[derive(Debug, Clone)]
pub(crate) struct UserArg {
    /// Its name, without the two hyphens.
    pub(crate) name: &'static str,
    /// The placeholder of its value in the help; `None` for a flag.
    pub(crate) value: Option<&'static str>,
    /// Its line in the help.
    pub(crate) help: &'static str,
}

/// The flags and options of the program that the command line has, with their values.
pub(crate) type UserArgs = BTreeMap<&'static str, Option<String>>;
