//! What native calls fail with, and how texts and times cross the border.

use std::ffi::{CStr, CString, c_char, c_int};
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;
pub(crate) use rdkafka::types::RDKafkaErrorCode as Code;

/// A code of librdkafka, if it is an error.
pub(super) fn code(err: sys::rd_kafka_resp_err_t) -> Option<Code> {
    match err {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => None,
        err => Some(err.into()),
    }
}

pub(super) fn done(err: sys::rd_kafka_resp_err_t) -> Result<(), Fault> {
    code(err).map_or(Ok(()), |code| Err(Fault::of(code)))
}

/// librdkafka's text of a code, without its `Broker: ` or `Local: `.
pub(crate) fn text(code: Code) -> String {
    let text = code.to_string();
    let inner = text
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(&text);
    inner
        .trim_start_matches("Broker: ")
        .trim_start_matches("Local: ")
        .to_owned()
}

/// Copies a C string; null gives an empty one.
///
/// # Safety
/// `ptr` is null, or points to a NUL-terminated string whose owner is alive.
pub(super) unsafe fn string(ptr: *const c_char) -> String {
    if ptr.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(ptr) }
        .to_string_lossy()
        .into_owned()
}

/// # Safety
/// `at` points to `count` live entries, or `count` is 0.
pub(super) unsafe fn entries<'a, T>(at: *const T, count: impl TryInto<usize>) -> &'a [T] {
    match count.try_into() {
        // SAFETY: as the caller promises.
        Ok(count) if count > 0 => unsafe { slice::from_raw_parts(at, count) },
        _ => &[],
    }
}

/// A text as librdkafka takes it.
pub(super) fn name(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| Fault {
        code: Code::InvalidArgument,
        reason: format!("{text:?} contains a NUL character"),
    })
}

/// Milliseconds as librdkafka takes them, rounded up so that a short wait is not a busy loop.
pub(super) fn millis(wait: Duration) -> c_int {
    c_int::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn of(code: Code) -> Self {
        Self {
            code,
            reason: text(code),
        }
    }

    /// The last failure of a call that returns no code.
    pub(super) fn last() -> Self {
        // SAFETY: reads the thread's last error.
        Self::of(unsafe { sys::rd_kafka_last_error() }.into())
    }

    /// A code with the text that came along, if it is an error.
    ///
    /// # Safety
    /// As for [`string`].
    pub(super) unsafe fn with(err: sys::rd_kafka_resp_err_t, text: *const c_char) -> Option<Self> {
        let code = code(err)?;
        // SAFETY: as the caller promises.
        let reason = unsafe { string(text) };
        Some(Self { code, reason })
    }

    /// Takes over an error object; null is success.
    pub(super) fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Fault> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the object is ours, as every function that returns one says; read, then destroyed once.
        unsafe {
            let code = sys::rd_kafka_error_code(error).into();
            let reason = string(sys::rd_kafka_error_string(error));
            sys::rd_kafka_error_destroy(error);
            Err(Fault { code, reason })
        }
    }
}

/// Room for an error text that librdkafka writes.
pub(super) struct Words([c_char; 512]);

impl Words {
    pub(super) fn new() -> Self {
        Self([0; 512])
    }

    /// Where it is, and how long.
    pub(super) fn room(&mut self) -> (*mut c_char, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }

    pub(super) fn fault(&self, code: Code) -> Fault {
        // SAFETY: our own memory. It begins as zeros, and librdkafka ends what it writes with one.
        let reason = unsafe { string(self.0.as_ptr()) };
        Fault { code, reason }
    }
}
