//! Settings of a processor: times, sizes, guarantee; and which of them are possible.

use std::time::Duration;

use crate::core::deaths::Deaths;
use crate::record::Guarantee;
use crate::worker::OnStop;

/// Settings of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorOptions {
    /// The name of this process, the same after a restart: the group's static member. Empty for a new member
    /// at each start.
    pub instance: String,
    /// How often a barrier runs.
    pub barrier_interval: Duration,
    /// How long the group waits for a silent member: from 1 ms to one hour. Kafka refuses less than
    /// its `group.min.session.timeout.ms` and more than its `group.max.session.timeout.ms`.
    pub session_timeout: Duration,
    /// How long a member may take between two polls before the group gives its partitions to others:
    /// at least the session, at most one day.
    pub max_poll_interval: Duration,
    /// Whether it gives up its place in the group when it stops.
    pub on_stop: OnStop,
    /// How long stopping may take; an abort waits as long for the broker.
    pub stop_timeout: Duration,
    /// The guarantee; `None` is what the processor declares.
    pub guarantee: Option<Guarantee>,
    /// Exactly once: how long the log lets a transaction stay open when its owner is silent: from one
    /// second to one day. A barrier has to be shorter; Kafka refuses more than its
    /// `transaction.max.timeout.ms`.
    pub transaction_timeout: Duration,
    /// How long writes wait in memory before they go to the local store, a million of them at most. After a kill they are
    /// read again from the group topic.
    pub flush_interval: Duration,
    /// How many bytes of writes go to the local store before that.
    pub flush_bytes: usize,
    /// How long a local store may fail, as on a full disk, before its partition stops. Until then it is tried
    /// again, and nothing is lost.
    pub store_error_timeout: Duration,
    /// The memory for values of tables: those that wait for the store, and a cache of it.
    pub memory_bytes: usize,
    /// The records whose handlers ended earlier runs of this instance; set by the service.
    pub deaths: Deaths,
}

impl Default for ProcessorOptions {
    fn default() -> Self {
        Self {
            instance: String::new(),
            barrier_interval: Duration::from_millis(100),
            session_timeout: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(300),
            on_stop: OnStop::default(),
            stop_timeout: Duration::from_secs(10),
            guarantee: None,
            transaction_timeout: Duration::from_secs(10),
            flush_interval: Duration::from_secs(30),
            flush_bytes: 128 << 20,
            store_error_timeout: Duration::from_secs(60),
            memory_bytes: 256 << 20,
            deaths: Deaths::default(),
        }
    }
}

impl ProcessorOptions {
    /// Checks the times: each in its range, and the poll interval at least the session. Called before
    /// a processor starts.
    ///
    /// # Errors
    /// The first time that is not possible, by name.
    ///
    /// ```
    /// use goka_runtime::processor::ProcessorOptions;
    /// use std::time::Duration;
    ///
    /// let mut options = ProcessorOptions::default();
    /// options.max_poll_interval = Duration::from_secs(5);
    /// let error = options.check().unwrap_err().to_string();
    /// assert!(error.contains("the poll interval (`--max-poll-interval`) is 5s"));
    /// ```
    pub fn check(&self) -> Result<(), OptionError> {
        const MILLI: Duration = Duration::from_millis(1);
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3_600);
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        for (what, option, given, least, most) in [
            (
                "the session timeout",
                "--session",
                self.session_timeout,
                MILLI,
                HOUR,
            ),
            (
                "the poll interval",
                "--max-poll-interval",
                self.max_poll_interval,
                MILLI,
                DAY,
            ),
            (
                "the transaction timeout",
                "--transaction-timeout",
                self.transaction_timeout,
                SECOND,
                DAY,
            ),
            (
                "the barrier interval",
                "--barrier",
                self.barrier_interval,
                Duration::ZERO,
                DAY,
            ),
            (
                "the flush interval",
                "--flush-interval",
                self.flush_interval,
                Duration::ZERO,
                DAY,
            ),
        ] {
            if given < least || given > most {
                return Err(OptionError::OutOfRange {
                    what,
                    option,
                    given,
                    least,
                    most,
                });
            }
        }
        if self.max_poll_interval < self.session_timeout {
            return Err(OptionError::PollInterval {
                poll_interval: self.max_poll_interval,
                session_timeout: self.session_timeout,
            });
        }
        Ok(())
    }
}

/// What is wrong with the times in [`ProcessorOptions`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A time is too short or too long.
    #[error(
        "{what} (`{option}`) is {given:?}, and may be from {least:?} to {most:?}; set one in that range"
    )]
    OutOfRange {
        /// What the time is of.
        what: &'static str,
        /// The option of `run` that sets it.
        option: &'static str,
        /// What was given.
        given: Duration,
        /// The shortest possible.
        least: Duration,
        /// The longest possible.
        most: Duration,
    },
    /// The poll interval is shorter than the session timeout.
    #[error(
        "the poll interval (`--max-poll-interval`) is {poll_interval:?}, shorter than the session \
         timeout (`--session`), {session_timeout:?}; set a longer poll interval or a shorter session"
    )]
    PollInterval {
        /// The poll interval.
        poll_interval: Duration,
        /// The session timeout.
        session_timeout: Duration,
    },
}
