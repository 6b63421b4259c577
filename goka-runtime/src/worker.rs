//! A thread with one member of a group, and the threads beside it. Started by the processor; on a simulated
//! clock driven in turns by tests. [`driver`] has the loop, [`members`] follows one member with another,
//! [`copies`] owns the stores, [`health`] watches the log, [`services`] is what handlers use.

pub(crate) mod config;
mod copies;
pub(crate) mod driver;
pub(crate) mod executor;
mod flusher;
mod health;
pub(crate) mod members;
mod outage;
mod services;
mod state;
mod watch;

pub use self::config::OnStop;
pub(crate) use self::config::WorkerConfig;
pub(crate) use self::members::run;
pub use self::state::TaskStatus;
pub(crate) use self::state::WorkerState;
