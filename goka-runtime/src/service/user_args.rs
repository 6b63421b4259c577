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
#[derive(Debug, Clone, Default)]
pub(crate) struct UserArgs(BTreeMap<&'static str, Option<String>>);

impl UserArgs {
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }
}

impl FromIterator<(&'static str, Option<String>)> for UserArgs {
    fn from_iter<I: IntoIterator<Item = (&'static str, Option<String>)>>(args: I) -> Self {
        Self(args.into_iter().collect())
    }
}
