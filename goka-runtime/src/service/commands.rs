//! Reads and writes an open log for the commands `emit`, `get`, `scan` and `visit`.
//!
//! A command does it itself where it can open the log: Kafka, or the embedded log when no other process
//! has it. The process that holds the embedded log does it for the commands of others, which ask it over
//! a Unix socket.

pub(crate) mod fold;
pub(crate) mod open_log;
pub(crate) mod protocol;
pub(crate) mod server;
pub(crate) mod socket;
#[cfg(test)]
mod test_log;
