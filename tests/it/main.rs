//! The integration tests: one binary, one file per subject.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod bad_input;
mod bad_input_on_kafka;
mod broken_copies;
mod changed_topics_on_kafka;
mod clicks_on_kafka;
mod commands;
mod commands_on_kafka;
mod definitions;
mod edges;
mod embedded_log;
mod emitters;
mod ends;
mod ends_on_kafka;
mod faults_on_kafka;
mod flights;
mod full_disks;
mod invariants;
mod kafka_answers;
mod kafka_broker;
mod kafka_engine;
mod kafka_transactions;
mod killers;
mod late_topics_on_kafka;
mod lifecycle;
mod log_conformance;
mod orphans_on_kafka;
mod own_store;
mod private_files;
mod restores;
mod restores_on_kafka;
mod rights_on_kafka;
mod slow_handlers;
mod support;
mod two_inputs_on_kafka;
mod views;
