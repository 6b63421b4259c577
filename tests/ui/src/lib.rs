//! What must compile, warnings and missing documentation denied; `*/fail/` has what must not.
#![deny(warnings, missing_docs)]

pub mod edges;
pub mod keyless;
pub mod keys;
pub mod processor;
#[cfg(test)]
mod simulate;
pub mod topics;
