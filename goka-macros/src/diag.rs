//! Collects errors: `parse` and `check` report here and go on, so that all mistakes are reported at once. Knows no
//! attribute.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::Error;

/// Collects errors in the order in which they are found. It has to be finished.
#[derive(Default)]
pub(crate) struct Diag {
    errors: Vec<Error>,
    finished: bool,
}

impl Diag {
    /// Reports a mistake at some tokens, and how to correct it.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl AsRef<str>, help: &str) {
        self.push(Error::new_spanned(tokens, text(message.as_ref(), help)));
    }

    /// Reports a mistake at a place that has no tokens of its own.
    pub(crate) fn span(&mut self, span: Span, message: impl AsRef<str>, help: &str) {
        self.push(Error::new(span, text(message.as_ref(), help)));
    }

    /// Reports an error of syn, or of a parser of this crate.
    pub(crate) fn push(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// Runs `read`, and returns whether it reported no mistake. Rules about that part depend on this and not on
    /// `has_errors`, so that mistakes elsewhere do not silence them.
    pub(crate) fn part<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        let before = self.errors.len();
        let read = read(self);
        (read, self.errors.len() == before)
    }

    /// Whether there was a mistake anywhere.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// All mistakes as `compile_error!`s.
    pub(crate) fn finish(mut self) -> TokenStream {
        self.finished = true;
        self.errors.iter().map(Error::to_compile_error).collect()
    }
}

impl Drop for Diag {
    fn drop(&mut self) {
        debug_assert!(
            self.finished || std::thread::panicking(),
            "`Diag` was dropped without `finish`"
        );
    }
}

/// A message and its help line as one text, since proc macros cannot attach notes on stable Rust.
pub(crate) fn text(message: &str, help: &str) -> String {
    if help.is_empty() {
        return message.to_owned();
    }
    format!("{message}\nhelp: {help}")
}
