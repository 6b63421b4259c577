//! The integration tests: one binary, one file per subject.
#![allow(missing_docs, unreachable_pub)]

mod embedded_log;
mod kafka_broker;
mod log_conformance;
mod support;
