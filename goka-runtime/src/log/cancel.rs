//! Calls to a log that are cancelled when their answer is not needed any more. The calls of an engine wait for
//! a broker up to their deadline; a thread that is to end does not wait with them. Used by the
//! restorer, views and the worker.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How often it is looked whether the answer is still needed.
const LOOK: Duration = Duration::from_millis(20);

/// Asks on a thread of its own; `None` as soon as `is_cancelled`. That thread then ends by itself,
/// when the call does.
pub(crate) fn unless<T: Send + 'static>(
    is_cancelled: impl Fn() -> bool,
    ask: impl Fn() -> T + Send + Sync + 'static,
) -> Option<T> {
    let ask = Arc::new(ask);
    let theirs = Arc::clone(&ask);
    let Ok(call) = Call::start("goka-question", move || theirs()) else {
        return Some(ask());
    };
    while !is_cancelled() {
        match call.wait(LOOK) {
            Ok(found) => return Some(found),
            Err(RecvTimeoutError::Timeout) => {}
            // The call panicked; its message is on standard error.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    None
}

/// A call on a thread of its own. One that nobody waits for is left alone, with all that it holds.
pub(super) struct Call<T>(Receiver<T>);

impl<T: Send + 'static> Call<T> {
    pub(super) fn start(name: &str, call: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (answer, answered) = channel();
        // An answer that nobody waits for has no receiver.
        let call = move || drop(answer.send(call()));
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(call)?;
        Ok(Self(answered))
    }

    /// What it returned, waited for at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv_timeout(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_question_that_is_cancelled_is_not_waited_for() {
        let (end, ended) = channel::<()>();
        let ended = Mutex::new(ended);
        let cancelled = AtomicBool::new(false);
        let answer = unless(
            || cancelled.swap(true, Ordering::Relaxed),
            move || ended.lock().expect("one caller").recv().is_ok(),
        );
        assert_eq!(answer, None);
        drop(end);
        assert_eq!(unless(|| false, || 1), Some(1));
    }

    #[test]
    fn a_call_that_does_not_return_is_left_alone() {
        let (end, ended) = channel::<()>();
        let stuck = Call::start("stuck", move || ended.recv().is_ok()).expect("a thread");
        let late = stuck.wait(Duration::from_millis(20));
        assert_eq!(late, Err(RecvTimeoutError::Timeout));
        let other = Call::start("other", || 1).expect("a thread");
        assert_eq!(other.wait(Duration::from_secs(60)), Ok(1));
        drop(end);
        assert_eq!(stuck.wait(Duration::from_secs(60)), Ok(false));
    }
}
