//! The sans-IO core.

pub mod judge;
pub mod metadata;
