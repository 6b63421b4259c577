//! The embedded log's own promises: what a file keeps, and how it says that it cannot be used.
