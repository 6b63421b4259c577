//! The runtime of goka. Use it through the facade crate `goka`.

#[macro_use]
mod fail_point;

#[doc(hidden)]
pub mod __private;
mod checked_file;
pub mod clock;
pub mod codec;
pub mod context;
pub(crate) mod core;
#[cfg(feature = "cli")]
mod crash;
pub mod dispatch;
pub mod edges;
pub mod emitter;
pub mod error;
#[cfg(feature = "fail-points")]
pub mod fail_points;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
pub mod graph;
mod handler_parameter;
mod in_hand;
pub mod key;
mod lock;
pub mod log;
mod newer;
pub mod partitioner;
mod private_files;
pub mod processor;
pub mod record;
pub mod registry;
mod reminder;
mod restore;
pub mod schema;
#[cfg(feature = "cli")]
pub mod service;
mod shared_error;
#[cfg(feature = "tester")]
pub mod simulation;
pub mod table;
#[cfg(feature = "tester")]
pub mod tester;
pub mod testing;
mod text;
pub mod topic;
mod topic_change;
pub mod view;
pub mod visit;
mod worker;

/// The return type of handlers: any error converts into a [`HandlerError`](error::HandlerError) by `?`.
pub type Result<T = (), E = error::HandlerError> = std::result::Result<T, E>;
