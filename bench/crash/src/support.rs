//! The Kafka that the integration tests run on, and their way of waiting.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::time::{Duration, Instant};

#[path = "../../../tests/it/support/kafka.rs"]
pub mod kafka;

/// Waits for a condition, checked often, until a deadline that only a failure reaches.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < within, "waited {within:?} for: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
