//! What happens in a run, and when: decided by the seed before it begins.
