//! The names in which members make transactions. A name belongs to one member at a time: one
//! that takes it over fences the member that has it. Used by the producer of a member.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex};

use super::super::{Group, lock};

/// The names that members of this process made up and still use.
static MADE_UP: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Distinguishes the names that this process makes up from those of others.
static PROCESS: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

/// A transactional id, held by one member until it is dropped.
#[derive(Debug)]
pub(super) struct TransactionalId {
    name: String,
    is_made_up: bool,
}

impl TransactionalId {
    /// With an instance that is kept somewhere the name is the same after a restart, so that the
    /// successor ends what its predecessor left open.
    ///
    /// Without one it is made up: the first name of this process that no living member has. A member
    /// that joins after another one died takes its name, and ends its transaction; two that live side
    /// by side have two names. No member takes over from a process that was killed: what it left open
    /// holds readers and the next owner back until the broker's time-out (and the ten seconds between
    /// two looks of the broker's), and the broker remembers the name for a week.
    pub(super) fn of(group: &Group) -> Self {
        let named = |instance: &str| format!("{}/{instance}/{}", group.name, group.worker);
        if !group.instance.is_empty() {
            return Self {
                name: named(&group.instance),
                is_made_up: false,
            };
        }
        let mut used = lock(&MADE_UP);
        let mut names = (1_u64..).map(|number| named(&format!("{}-{number}", *PROCESS)));
        let name = names.find(|name| !used.contains(name));
        let name = name.expect("numbers do not run out");
        used.insert(name.clone());
        Self {
            name,
            is_made_up: true,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TransactionalId {
    fn drop(&mut self) {
        if self.is_made_up {
            lock(&MADE_UP).remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Guarantee;

    fn group(name: &str, instance: &str, worker: u32) -> Group {
        Group {
            name: name.into(),
            topics: Vec::new(),
            inputs: Vec::new(),
            lead: None,
            instance: instance.to_owned(),
            worker,
            session_timeout: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(300),
            guarantee: Guarantee::ExactlyOnce,
            transaction_timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn members_without_an_instance_share_no_name_while_both_live() {
        let own = |worker| TransactionalId::of(&group("made-up", "", worker));
        let (first, second, other) = (own(0), own(0), own(1));
        assert_ne!(first.name(), second.name());
        assert_ne!(first.name(), other.name());
        assert_ne!(second.name(), other.name());
        assert!(first.name().starts_with("made-up/"));
        let left = first.name().to_owned();
        drop(first);
        assert_eq!(
            own(0).name(),
            left,
            "the next member ends what it left open"
        );
    }

    #[test]
    fn an_instance_has_the_same_name_after_a_restart() {
        let own = || TransactionalId::of(&group("kept", "instance", 3));
        assert_eq!(own().name(), "kept/instance/3");
        assert_eq!(own().name(), own().name());
    }
}
