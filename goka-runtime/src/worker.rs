//! A thread with one member of a group, and the threads beside it. Started by the processor; on a simulated
//! clock driven in turns by tests. [`driver`] has the loop, [`members`] follows one member with another,
//! [`copies`] owns the stores, [`health`] watches the log, [`services`] is what handlers use.

mod config;
mod copies;
mod driver;
mod executor;
mod flusher;
mod health;
mod members;
mod outage;
mod services;
mod state;
mod watch;

#[cfg(feature = "tester")]
pub(crate) use self::config::HandlerObserver;
pub use self::config::OnStop;
pub(crate) use self::config::WorkerConfig;
#[cfg(feature = "tester")]
pub(crate) use self::driver::Worker;
pub(crate) use self::members::run;
#[cfg(feature = "tester")]
pub(crate) use self::members::{REJOIN, RejoinPolicy};
pub use self::state::TaskStatus;
pub(crate) use self::state::WorkerState;
