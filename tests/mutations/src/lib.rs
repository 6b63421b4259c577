//! Checks that simulations find mutants of the engine: see `tests/found.rs`.
