//! How the processors of a program run. What the command line and the environment say counts before what
//! the program says, and that before what each processor declares.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::deaths::RecordAt;
use crate::graph::Definition;
use crate::processor::{OnStop, OptionError, ProcessorOptions};
use crate::record::Guarantee;

/// What the options of `run` say; `None` where nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) guarantee: Option<Guarantee>,
    pub(crate) barrier: Option<Duration>,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) table_memory: Option<usize>,
    pub(crate) session: Option<Duration>,
    pub(crate) max_poll_interval: Option<Duration>,
    pub(crate) transaction_timeout: Option<Duration>,
    pub(crate) on_stop: Option<OnStop>,
    /// Records to handle again although their handlers ended the process twice.
    pub(crate) retried: Vec<RecordAt>,
}

/// The guarantees that the program sets in its code.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guarantees {
    /// For every processor.
    pub(crate) all: Option<Guarantee>,
    /// For the processor of a type; counts before `all`.
    pub(crate) of: BTreeMap<TypeId, Guarantee>,
}

/// Bytes for all tables together, unless the settings say otherwise.
const DEFAULT_MEMORY: usize = 512 << 20;

/// Bytes for the caches of the tables' files: half of the memory for all tables.
pub(crate) fn cache(settings: &Settings) -> usize {
    settings.table_memory.unwrap_or(DEFAULT_MEMORY) / 2
}

/// The options of each of `definitions`, in their order.
///
/// # Errors
/// The first setting that is out of range. All processors have the same settings, so it is reported once.
pub(crate) fn options(
    definitions: &[&'static Definition],
    settings: &Settings,
    guarantees: &Guarantees,
) -> Result<Vec<ProcessorOptions>, OptionError> {
    let default = ProcessorOptions::default();
    let tables = definitions.iter().filter(|d| d.graph.table().is_some());
    let memory = settings.table_memory.unwrap_or(DEFAULT_MEMORY);
    let memory = (memory - cache(settings)) / tables.count().max(1);
    let common = ProcessorOptions {
        barrier_interval: settings.barrier.unwrap_or(default.barrier_interval),
        flush_interval: settings.flush_interval.unwrap_or(default.flush_interval),
        // Rows that wait for the store may take a quarter, as by default: the rest is for cached rows.
        flush_bytes: default.flush_bytes.min(memory / 2),
        memory_bytes: memory,
        session_timeout: settings.session.unwrap_or(default.session_timeout),
        max_poll_interval: settings
            .max_poll_interval
            .unwrap_or(default.max_poll_interval),
        transaction_timeout: settings
            .transaction_timeout
            .unwrap_or(default.transaction_timeout),
        on_stop: settings.on_stop.unwrap_or(default.on_stop),
        ..default
    };
    common.check()?;
    let guarantee = |definition: &&Definition| {
        let own = guarantees.of.get(&(definition.type_id)()).copied();
        settings.guarantee.or(own).or(guarantees.all)
    };
    let each = definitions.iter().map(|definition| ProcessorOptions {
        guarantee: guarantee(definition),
        ..common.clone()
    });
    Ok(each.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::__private::BROKEN;

    fn type_id() -> TypeId {
        TypeId::of::<u8>()
    }

    /// Another processor than [`BROKEN`].
    const OTHER: Definition = Definition { type_id, ..BROKEN };

    #[test]
    fn settings_count_before_the_program_and_that_before_the_processor() {
        use Guarantee::{AtLeastOnce, ExactlyOnce};
        let given = Settings {
            guarantee: Some(AtLeastOnce),
            ..Settings::default()
        };
        let none = Settings::default();
        let all = |all| Guarantees {
            all,
            ..Guarantees::default()
        };
        let other = Guarantees {
            all: Some(ExactlyOnce),
            of: [(type_id(), AtLeastOnce)].into(),
        };
        for (settings, program, expected) in [
            (none.clone(), all(None), [None, None]),
            (none.clone(), all(Some(ExactlyOnce)), [Some(ExactlyOnce); 2]),
            (none, other.clone(), [Some(ExactlyOnce), Some(AtLeastOnce)]),
            (given, other, [Some(AtLeastOnce); 2]),
        ] {
            let options = options(&[&BROKEN, &OTHER], &settings, &program).expect("possible");
            let found: Vec<_> = options.iter().map(|one| one.guarantee).collect();
            assert_eq!(found, expected);
        }
    }
}
