//! What runs goka's group graphs. Use it through the facade crate `goka`.

pub mod log;
pub mod record;
pub mod table;
