//! What is told of a violation.
