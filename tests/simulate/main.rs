//! `#[goka::simulate]` as users meet it.
