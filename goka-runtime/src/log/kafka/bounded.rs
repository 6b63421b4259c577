//! Calls of librdkafka that may never return.

use std::io;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Makes a call on a thread of its own; `None` when it does not return within `timeout`. The thread is
/// left alone then, with all that the call holds.
pub(super) fn call_with_timeout<T: Send + 'static>(
    timeout: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (answer, answered) = channel();
    // An answer after the timeout has no receiver.
    let call = move || drop(answer.send(call()));
    thread::Builder::new()
        .name("kafka-call".to_owned())
        .spawn(call)?;
    Ok(answered.recv_timeout(timeout).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_left_alone() {
        let (end, ended) = channel::<()>();
        let stuck = call_with_timeout(Duration::from_millis(20), move || ended.recv());
        assert!(stuck.expect("a thread").is_none());
        drop(end);
        let other = call_with_timeout(Duration::from_secs(60), || 1);
        assert_eq!(other.expect("a thread"), Some(1));
    }
}
