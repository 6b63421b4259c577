//! Processors whose values are Avro records and Protocol Buffers messages; see `tests/`.

pub use goka::{Proto, avro};
