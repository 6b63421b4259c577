//! What runs goka's group graphs. Use it through the facade crate `goka`.

pub mod core;
pub mod dispatch;
pub mod graph;
pub mod log;
pub mod partitioner;
pub mod processor;
pub mod record;
mod restore;
pub mod table;
mod worker;
