//! The options of `run`, which are those of all its processors: read from the command line and from
//! environment variables.

use std::str::FromStr;
use std::time::Duration;

use clap::{Arg, ArgMatches};

use crate::core::deaths::RecordAt;
use crate::processor::OnStop;
use crate::record::Guarantee;
use crate::service::settings::Settings;

const GUARANTEE: &str = "guarantee";
const BARRIER: &str = "barrier";
const FLUSH_INTERVAL: &str = "flush-interval";
const TABLE_MEMORY: &str = "table-memory";
const SESSION: &str = "session";
const MAX_POLL_INTERVAL: &str = "max-poll-interval";
const TRANSACTION_TIMEOUT: &str = "transaction-timeout";
const ON_STOP: &str = "on-stop";
const RETRY: &str = "retry";

pub(super) fn args() -> [Arg; 9] {
    let arg = |name, variable, value| Arg::new(name).long(name).env(variable).value_name(value);
    [
        arg(GUARANTEE, "GOKA_GUARANTEE", "G")
            .value_parser(unless_empty(Guarantee::from_str))
            .help(
                "The guarantee of every processor, at-least-once or exactly-once; without it, what \
                 each declares",
            ),
        arg(BARRIER, "GOKA_BARRIER", "TIME")
            .default_value("100ms")
            .value_parser(unless_empty(time))
            .help("How often results become durable, and visible with exactly-once; ms, s or m"),
        arg(FLUSH_INTERVAL, "GOKA_FLUSH_INTERVAL", "TIME")
            .default_value("30s")
            .value_parser(unless_empty(time))
            .help("How long updates wait in memory until they are written to the tables' files; ms, s or m"),
        arg(TABLE_MEMORY, "GOKA_TABLE_MEMORY", "SIZE")
            .default_value("512MiB")
            .value_parser(unless_empty(size))
            .help("Memory for all tables together, half of it for the caches of their files; KiB, MiB or GiB"),
        arg(SESSION, "GOKA_SESSION", "TIME")
            .default_value("10s")
            .value_parser(unless_empty(time_or_zero))
            .help("How long a group waits for an instance that is silent; ms, s or m"),
        arg(MAX_POLL_INTERVAL, "GOKA_MAX_POLL_INTERVAL", "TIME")
            .default_value("5m")
            .value_parser(unless_empty(time_or_zero))
            .help(
                "How long an instance may take between two polls before its partitions go to others; \
                 ms, s or m",
            ),
        arg(TRANSACTION_TIMEOUT, "GOKA_TRANSACTION_TIMEOUT", "TIME")
            .default_value("10s")
            .value_parser(unless_empty(time_or_zero))
            .help("How long a transaction may stay open with exactly-once; ms, s or m"),
        arg(ON_STOP, "GOKA_ON_STOP", "HOW")
            .default_value("leave")
            .value_parser(unless_empty(OnStop::from_str))
            .help(
                "What an instance does when it stops: `leave` its groups, so that others take its \
                 partitions over at once, or `keep` its place for the session, for a restart",
            ),
        arg(RETRY, "GOKA_RETRY", "TOPIC:PARTITION:OFFSET,..")
            .value_parser(unless_empty(records))
            .help(
                "Records to handle again although their handlers ended the process twice: for handlers \
                 that were corrected since",
            ),
    ]
}

/// An empty environment variable counts as unset.
fn unless_empty<T>(
    parse: impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<Option<T>, String> + Clone + Send + Sync + 'static {
    move |text| match text.trim() {
        "" => Ok(None),
        text => parse(text).map(Some),
    }
}

/// `100ms`, `1s`, `2m`.
fn time(text: &str) -> Result<Duration, String> {
    let time = time_or_zero(text).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| NOT_A_TIME.to_owned())
}

const NOT_A_TIME: &str = "a time is like `100ms`, `1s`, `2m`";

/// The same, but zero is a time, too: its range is checked later, by an error that names the option.
fn time_or_zero(text: &str) -> Result<Duration, String> {
    let time = counted(text, [("ms", 1), ("s", 1_000), ("m", 60_000)]);
    time.map(Duration::from_millis)
        .ok_or_else(|| NOT_A_TIME.to_owned())
}

/// `512KiB`, `64MiB`, `1GiB`.
fn size(text: &str) -> Result<usize, String> {
    let size = counted(text, [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]);
    size.filter(|bytes| *bytes > 0)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "a size is like `512KiB`, `64MiB`, `1GiB`".to_owned())
}

/// `clicks:0:17,clicks:2:5`.
fn records(text: &str) -> Result<Vec<RecordAt>, String> {
    let one = |text: &str| {
        let (rest, offset) = text.trim().rsplit_once(':')?;
        let (topic, partition) = rest.rsplit_once(':')?;
        Some(RecordAt {
            topic: topic.to_owned(),
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    };
    let records: Option<_> = text.split(',').map(one).collect();
    records.ok_or_else(|| "a record is like `topic:0:17`: topic, partition, offset".to_owned())
}

/// A number with a unit; `units` are their names and factors.
fn counted(text: &str, units: [(&str, u64); 3]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(end);
    let count = count.parse::<u64>().ok()?;
    let (_, one) = units.into_iter().find(|(name, _)| *name == unit)?;
    count.checked_mul(one)
}

/// Reads the options; `of` returns the matches in which the option of a name is.
pub(super) fn read<'m>(of: impl Fn(&str) -> &'m ArgMatches) -> Settings {
    fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
        matches.get_one::<Option<T>>(name).cloned().flatten()
    }
    fn set<T: Clone + Send + Sync + 'static>(to: &mut T, matches: &ArgMatches, name: &str) {
        if let Some(value) = one(matches, name) {
            *to = value;
        }
    }
    let mut settings = Settings::default();
    let common = &mut settings.common;
    common.guarantee = one(of(GUARANTEE), GUARANTEE);
    set(&mut common.barrier_interval, of(BARRIER), BARRIER);
    set(
        &mut common.flush_interval,
        of(FLUSH_INTERVAL),
        FLUSH_INTERVAL,
    );
    set(&mut common.session_timeout, of(SESSION), SESSION);
    set(
        &mut common.max_poll_interval,
        of(MAX_POLL_INTERVAL),
        MAX_POLL_INTERVAL,
    );
    set(
        &mut common.transaction_timeout,
        of(TRANSACTION_TIMEOUT),
        TRANSACTION_TIMEOUT,
    );
    set(&mut common.on_stop, of(ON_STOP), ON_STOP);
    set(&mut common.deaths.retried, of(RETRY), RETRY);
    set(&mut settings.table_memory, of(TABLE_MEMORY), TABLE_MEMORY);
    settings
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use super::super::error::CliError;
    use super::*;
    use crate::__private::BROKEN;
    use crate::graph::Definition;
    use crate::processor::ProcessorOptions;
    use crate::service::settings::{Guarantees, options};

    fn read(arguments: &[&str]) -> Result<Settings, String> {
        let clap = clap::Command::new("run").no_binary_name(true).args(args());
        let clap = clap.mut_args(|arg| arg.env(None));
        let matches = clap.try_get_matches_from(arguments);
        let matches = matches.map_err(|error| error.to_string())?;
        Ok(super::read(|_| &matches))
    }

    #[test]
    fn the_defaults_of_the_help_are_those_of_the_options() {
        let settings = read(&[]).expect("nothing is needed");
        let shown = options(&[&BROKEN], &settings, &Guarantees::default());
        assert_eq!(shown, Ok(vec![ProcessorOptions::default()]));
    }

    #[test]
    fn times_and_sizes_have_units() {
        let rows = [
            (BARRIER, "20ms", Duration::from_millis(20)),
            (BARRIER, "3s", Duration::from_secs(3)),
            (FLUSH_INTERVAL, "2m", Duration::from_secs(120)),
        ];
        for (name, text, expected) in rows {
            let settings = read(&[&format!("--{name}"), text]).expect(text);
            let found = match name {
                BARRIER => settings.common.barrier_interval,
                _ => settings.common.flush_interval,
            };
            assert_eq!(found, expected, "{text}");
        }
        for (text, expected) in [("3KiB", 3 << 10), ("64MiB", 64 << 20), ("1GiB", 1 << 30)] {
            let settings = read(&["--table-memory", text]).expect(text);
            assert_eq!(settings.table_memory, expected);
        }
        let huge = u64::MAX.to_string();
        let (minutes, gigabytes) = (format!("{huge}m"), format!("{huge}GiB"));
        for (name, text, help) in [
            (BARRIER, "100", "a time is like `100ms`, `1s`, `2m`"),
            (BARRIER, "0s", "a time is like"),
            (BARRIER, "-1s", "a time is like"),
            (BARRIER, "1 s", "a time is like"),
            (FLUSH_INTERVAL, "ms", "a time is like"),
            (FLUSH_INTERVAL, &minutes, "a time is like"),
            (TABLE_MEMORY, "64MB", "`512KiB`, `64MiB`, `1GiB`"),
            (TABLE_MEMORY, &gigabytes, "a size is like"),
            (ON_STOP, "stay", "it is `leave` or `keep`"),
            (
                GUARANTEE,
                "at-most-once",
                "`at-least-once` or `exactly-once`",
            ),
        ] {
            let error = read(&[&format!("--{name}={text}")]).expect_err(text);
            assert!(error.contains(help), "{error}");
        }
        assert_eq!(read(&["--barrier="]), Ok(Settings::default()));
    }

    #[test]
    fn times_out_of_range_are_refused_once_and_name_the_option() {
        for (arguments, line) in [
            (
                vec!["--session=0s"],
                "the session timeout (`--session`) is 0ns, and may be from 1ms to 3600s",
            ),
            (vec!["--session=576000m"], "(`--session`) is 34560000s"),
            (
                vec!["--max-poll-interval=0ms"],
                "the poll interval (`--max-poll-interval`) is 0ns",
            ),
            (
                vec!["--max-poll-interval=576000m"],
                "is 34560000s, and may be from 1ms to 86400s; set one in that range",
            ),
            (
                vec!["--transaction-timeout=999ms"],
                "the transaction timeout (`--transaction-timeout`) is 999ms, and may be from 1s",
            ),
            (vec!["--transaction-timeout=576000m"], "is 34560000s"),
            (vec!["--barrier=576000m"], "(`--barrier`) is 34560000s"),
            (vec!["--flush-interval=576000m"], "(`--flush-interval`) is"),
            (
                vec!["--session=10m"],
                "the poll interval (`--max-poll-interval`) is 300s, shorter than the session timeout \
                 (`--session`), 600s; set a longer poll interval or a shorter session",
            ),
        ] {
            let settings = read(&arguments).expect("times");
            let refused = options(&[&BROKEN, &OTHER], &settings, &Guarantees::default());
            match CliError::new(refused.expect_err(line)) {
                CliError::Errors(lines) => assert!(lines.concat().contains(line), "{lines:?}"),
                other => panic!("{other:?}"),
            }
        }
        let settings = read(&["--session=5m", "--max-poll-interval=5m"]).expect("times");
        let taken = options(&[&BROKEN], &settings, &Guarantees::default()).expect("possible");
        assert_eq!(taken[0].session_timeout, taken[0].max_poll_interval);
    }

    fn type_id() -> TypeId {
        TypeId::of::<u8>()
    }

    /// Another processor than [`BROKEN`].
    const OTHER: Definition = Definition { type_id, ..BROKEN };
}
