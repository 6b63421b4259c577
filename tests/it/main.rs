//! Behaviour tests: one file a subject.

mod support;
