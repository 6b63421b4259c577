//! What tests share: a real Kafka, waiting without sleeping, names that do not collide.

pub mod disk;
pub mod events;
pub mod kafka;
pub mod program;
pub mod proxy;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Waits for a condition, checked often, until a deadline that only a failure reaches.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < within, "waited {within:?} for: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A name that no other test of this run uses.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{name}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
