//! What the tests of this binary share, with the parts that benchmarks use too: a real Kafka, waiting
//! without sleeping, unique names.

pub mod cases;
pub mod disk;
pub mod events;
pub mod program;
pub mod proxy;

pub use goka_test_support::{block_on, kafka, unique, wait_until};
