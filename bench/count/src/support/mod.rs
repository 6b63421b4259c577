//! The tests' real Kafka, and what it needs of them.

#[allow(dead_code, unreachable_pub)]
#[path = "../../../../tests/it/support/kafka.rs"]
pub(crate) mod kafka;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Waits for a condition, checked often, until a deadline that only a failure reaches.
#[track_caller]
pub(crate) fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < within, "waited {within:?} for: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Waits for a future of an admin client.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}
