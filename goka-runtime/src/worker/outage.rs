//! One warning when the log does not take what is written, and one line when it does again. Which
//! barriers fail in a rebalance is nobody's business, so only one that waited counts.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use super::Worker;
use crate::log::{Failure, Settlement, TopicInfo};
use crate::record::TaskId;

/// A barrier that failed sooner did not wait for a broker.
const WAITED: Duration = Duration::from_secs(5);

/// So often it is asked whether replicas are short, until they are.
const QUESTIONS: u32 = 5;

/// What was told of an outage; it outlives a client that dies in it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    told: bool,
    /// How often it was asked for a reason, in vain: the brokers that know may be the ones away.
    asked: u32,
    /// The tasks that could not write and have not written since.
    tasks: BTreeSet<TaskId>,
}

impl Worker {
    /// Tells what a settlement that took so long shows of the log's state. The outage is over when
    /// every task that could not write has written again: a part of a topic may take records all the
    /// time.
    pub(super) fn tell(&self, settlement: &Settlement, took: Duration) {
        let outage = &self.parts.signals.outage;
        let mut outage = outage.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody here hears any more of a task that was given back.
        let owned: BTreeSet<TaskId> = self.core.tasks().map(|(task, ..)| task).collect();
        outage.tasks.retain(|task| owned.contains(task));
        let (mut written, mut why) = (false, None);
        for (task, ack) in &settlement.acks {
            match ack {
                Ok(_) => {
                    written = true;
                    outage.tasks.remove(task);
                }
                Err(failure @ (Failure::Unknown(_) | Failure::Abortable(_))) if took >= WAITED => {
                    outage.tasks.insert(*task);
                    why.get_or_insert(failure);
                }
                Err(_) => {}
            }
        }
        let group = &*self.parts.plan.group.name;
        match why {
            Some(failure) if outage.asked < QUESTIONS => {
                let short = self.short_of_replicas();
                if short.is_some() || !outage.told {
                    tracing::warn!(group, %failure, short, "what is written is not taken, trying again");
                }
                outage.told = true;
                outage.asked = if short.is_some() {
                    QUESTIONS
                } else {
                    outage.asked + 1
                };
            }
            None if outage.told && written && outage.tasks.is_empty() => {
                (outage.told, outage.asked) = (false, 0);
                tracing::info!(group, "writing goes on");
            }
            _ => {}
        }
    }

    /// Which topics have fewer replicas in sync than they ask for, as far as the log says so now.
    fn short_of_replicas(&self) -> Option<String> {
        let topics = &self.parts.plan.group.topics;
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        let infos = self.parts.log.describe(&names).ok()?;
        let short: Vec<_> = infos.iter().flatten().filter_map(words).collect();
        (!short.is_empty()).then(|| short.join("; "))
    }
}

fn words(topic: &TopicInfo) -> Option<String> {
    let (name, has, wants) = (&topic.name, topic.in_sync, topic.min_in_sync);
    let s = if has == 1 { "" } else { "s" };
    (has < wants).then(|| {
        format!(
            "topic `{name}` has {has} replica{s} in sync and asks for {wants} (min.insync.replicas): \
             start its brokers"
        )
    })
}
