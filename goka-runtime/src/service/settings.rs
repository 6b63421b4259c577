//! How the processors of a program run. What the command line and the environment say counts before what
//! the program says, and that before what each processor declares. Also the options that the program has
//! itself.

use std::any::TypeId;
use std::collections::BTreeMap;

use crate::graph::Definition;
use crate::processor::{OptionError, ProcessorOptions};
use crate::record::Guarantee;

/// What the options of `run` say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The options of every processor. A guarantee counts for all of them.
    pub(crate) common: ProcessorOptions,
    /// Bytes for all tables together.
    pub(crate) table_memory: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            common: ProcessorOptions::default(),
            table_memory: 512 << 20,
        }
    }
}

/// A flag or option that the program declares.
#[derive(Debug, Clone)]
pub(crate) struct UserArg {
    /// Its name, without the two hyphens.
    pub(crate) name: &'static str,
    /// The placeholder of its value in the help; `None` for a flag.
    pub(crate) value: Option<&'static str>,
    pub(crate) help: &'static str,
}

/// The flags and options of the program that the command line has, with their values.
pub(crate) type UserArgs = BTreeMap<&'static str, Option<String>>;

/// The guarantees that the program sets in its code.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guarantees {
    /// For every processor.
    pub(crate) all: Option<Guarantee>,
    /// For the processor of a type; counts before `all`.
    pub(crate) of: BTreeMap<TypeId, Guarantee>,
}

/// Bytes for the caches of the tables' files: half of the memory for all tables.
pub(crate) fn cache(settings: &Settings) -> usize {
    settings.table_memory / 2
}

/// The options of each of `definitions`, in their order.
pub(crate) fn options(
    definitions: &[&'static Definition],
    settings: &Settings,
    guarantees: &Guarantees,
) -> Result<Vec<ProcessorOptions>, OptionError> {
    let tables = definitions.iter().filter(|d| d.graph.table().is_some());
    let memory = (settings.table_memory - cache(settings)) / tables.count().max(1);
    let common = ProcessorOptions {
        // The other half is for cached rows.
        flush_bytes: settings.common.flush_bytes.min(memory / 2),
        memory_bytes: memory,
        ..settings.common.clone()
    };
    common.check()?;
    let guarantee = |definition: &&Definition| {
        let own = guarantees.of.get(&(definition.type_id)()).copied();
        common.guarantee.or(own).or(guarantees.all)
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
        let mut given = Settings::default();
        given.common.guarantee = Some(AtLeastOnce);
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
