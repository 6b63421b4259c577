//! `#[goka::simulate]` as users write it.

mod counts;
mod edges;
mod mistakes;
