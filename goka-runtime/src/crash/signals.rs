//! The signals by which a process ends itself, and what may be called when one comes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, c_void, siginfo_t};

/// An abort, and what a fault of the thread itself raises.
const ENDS: [c_int; 5] = [
    libc::SIGABRT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
];

/// What each of them did before.
static BEFORE: [OnceLock<libc::sigaction>; ENDS.len()] = [const { OnceLock::new() }; ENDS.len()];

/// Notes the record in hand when one of them comes; then it does what it did before. Once a process.
pub(super) fn handle() -> io::Result<()> {
    for (signal, before) in ENDS.into_iter().zip(&BEFORE) {
        let mut found = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: `found` has room for what is asked for, and nothing is set.
        let asked = unsafe { libc::sigaction(signal, ptr::null(), found.as_mut_ptr()) };
        if asked != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: zeros are one already, and the call filled it.
        let mut action = unsafe { found.assume_init() };
        if before.set(action).is_err() {
            continue;
        }
        let ours: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_signal;
        action.sa_sigaction = ours as usize;
        // On the stack that the standard library gave the thread: its own may have overflowed.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the type that SA_SIGINFO asks for, and calls only what a signal
        // handler may call.
        if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives what SA_SIGINFO asks for; a signal that is no fault has its sender.
    let (is_fault, is_own) = unsafe {
        let is_fault = (*info).si_code > 0;
        (is_fault, is_fault || (*info).si_pid() == libc::getpid())
    };
    if is_own {
        super::note();
    }
    for (signal, before) in ENDS.into_iter().zip(&BEFORE) {
        if let Some(before) = before.get() {
            // SAFETY: it was in force before.
            unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
        }
    }
    if !is_fault {
        // A fault comes again by itself: from where it was, so that a core file shows that.
        // SAFETY: it may be called here; the signal comes when this handler has returned.
        unsafe { libc::raise(signal) };
    }
}

/// Writes what it can; who dies can do no more. For a signal handler.
pub(super) fn write(file: RawFd, bytes: &[u8]) {
    // SAFETY: the bytes are there, and a signal handler may call it.
    unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
}
