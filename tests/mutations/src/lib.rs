//! Proof that the simulation bites: see `tests/found.rs`.
