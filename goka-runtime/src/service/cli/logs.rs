//! The log of the program: lines on standard error, filtered by RUST_LOG. Standard output is for data.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Installs the subscriber, unless the program has installed its own.
pub(super) fn init() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let events = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .finish();
    // An error means that the program has installed its own, which stays.
    let _ = tracing::subscriber::set_global_default(events);
}
