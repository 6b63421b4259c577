//! `#[goka::simulate]` as users meet it.

mod counts;
mod edges;
mod mistakes;
