//! Stateful stream processing on Apache Kafka as a library.
