//! Calls to a log that are cancelled when their answer is not needed any more. The calls of an engine wait for
//! a broker up to their deadline; a thread that is to end does not wait with them. Used by the
//! restorer, views and the worker.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
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
    let (answer, answered) = channel();
    let theirs = Arc::clone(&ask);
    // An answer that comes too late is dropped.
    let call = move || drop(answer.send(theirs()));
    let builder = thread::Builder::new().name("goka-question".to_owned());
    if builder.spawn(call).is_err() {
        return Some(ask());
    }
    loop {
        if is_cancelled() {
            return None;
        }
        match answered.recv_timeout(LOOK) {
            Ok(found) => return Some(found),
            Err(RecvTimeoutError::Timeout) => {}
            // The call panicked; its message is on standard error.
            Err(RecvTimeoutError::Disconnected) => return None,
        }
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
}
