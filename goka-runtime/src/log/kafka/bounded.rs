//! Calls of librdkafka that may never return.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// A call on a thread of its own. One that nobody waits for is left alone, with all that it holds.
pub(super) struct Call<T>(Receiver<T>);

impl<T: Send + 'static> Call<T> {
    pub(super) fn start(call: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (answer, answered) = channel();
        // An answer that nobody waits for has no receiver.
        let call = move || drop(answer.send(call()));
        thread::Builder::new()
            .name("kafka-call".to_owned())
            .spawn(call)?;
        Ok(Self(answered))
    }

    /// What it returned; `None` when it does not return within `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> Option<T> {
        self.0.recv_timeout(timeout).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_left_alone() {
        let (end, ended) = channel::<()>();
        let stuck = Call::start(move || ended.recv().is_ok()).expect("a thread");
        assert_eq!(stuck.wait(Duration::from_millis(20)), None);
        let other = Call::start(|| 1).expect("a thread");
        assert_eq!(other.wait(Duration::from_secs(60)), Some(1));
        drop(end);
        assert_eq!(stuck.wait(Duration::from_secs(60)), Some(false));
    }
}
