//! What the schedule says, done. Part of [`Run`].

use super::super::process::Process;
use super::super::schedule::{Step, StepAction};
use super::Run;
use crate::graph::{Definition, Edge, EdgeKind};
use crate::record::TopicPartition;

impl Run<'_> {
    pub(super) fn act(&mut self, act: &Step) {
        let now = self.clock.monotonic();
        if !matches!(act.what, StepAction::Feed { .. }) {
            self.told(act.to_string());
        }
        match &act.what {
            StepAction::Feed { topic, record } => {
                self.counters.records += 1;
                self.put(topic, record);
            }
            StepAction::Strike { fault, on } => self.strikes.arm(*fault, *on),
            StepAction::Die {
                instance,
                at: Some(at),
                power,
            } => {
                if self.processes[*instance].is_up() {
                    self.strikes.arm_death(*instance, *at, *power);
                }
            }
            StepAction::Die {
                instance, power, ..
            } => self.kill(*instance, *power),
            StepAction::DieWriting { instance, writes } => {
                self.processes[*instance].disk.lose_power_after(*writes);
            }
            StepAction::Stop { instance } => {
                if self.processes[*instance].is_up() {
                    self.stop(*instance);
                    self.count("stop");
                }
                self.processes[*instance].watched = None;
            }
            StepAction::Start { instance, emptied } => self.come_back(*instance, *emptied),
            StepAction::Stall { instance, time } => {
                self.processes[*instance].stalled = now + *time;
                self.count("stall");
            }
            StepAction::FailSyncs { instance, syncs } => {
                self.processes[*instance].disk.fail_syncs(*syncs);
            }
            StepAction::Full { instance, is_full } => {
                self.processes[*instance].disk.set_full(*is_full);
            }
            StepAction::Compact => {
                self.compact();
                self.count("compaction");
            }
            StepAction::Expire => {
                self.expire();
                self.count("retention");
            }
            StepAction::SetClock(by) => {
                self.clock.set_wall(self.clock.wall() + by);
                self.count("clock set");
            }
            StepAction::Forget => self.forget(),
        }
    }

    fn kill(&mut self, instance: usize, power: bool) {
        let process = &mut self.processes[instance];
        process.watched = None;
        if !process.is_up() {
            return;
        }
        match power {
            true => process.disk.lose_power(),
            false => process.disk.kill(),
        }
        process.die(&self.log);
        self.strikes.count("between two turns");
    }

    fn come_back(&mut self, instance: usize, emptied: bool) {
        self.strikes.spare(instance);
        if self.processes[instance].is_up() {
            return;
        }
        if emptied {
            self.processes[instance].disk.wipe();
            self.count("disk emptied");
        }
        self.start(instance);
    }

    /// Stops a process in order; if it dies of that, it is gone as well.
    pub(super) fn stop(&mut self, instance: usize) {
        self.processes[instance].stop();
        self.strikes.died();
    }

    /// The tables' topics.
    fn tables(&self) -> Vec<&'static str> {
        let edges = self.definitions.iter();
        let edges = edges.flat_map(|definition| definition.graph.edges.iter());
        let tables = edges.filter(|edge| edge.topic.kind != crate::graph::TopicKind::Stream);
        tables.map(|edge| edge.topic.name).collect()
    }

    fn compact(&mut self) {
        for table in self.tables() {
            self.log.compact(table);
        }
    }

    /// Everything that each group has to read, by partition: the group, and the edge.
    pub(super) fn intakes(&self) -> impl Iterator<Item = (&'static str, &'static Edge)> {
        let reads = |edge: &&'static Edge| {
            matches!(
                edge.kind,
                EdgeKind::Input { .. } | EdgeKind::Loopback { .. }
            )
        };
        let definitions = self.definitions.clone().into_iter();
        definitions.flat_map(move |definition| {
            let edges = definition.graph.edges.iter().filter(reads);
            edges.map(move |edge| (definition.graph.group, edge))
        })
    }

    /// Takes from the streams that are fed what every group has committed.
    fn expire(&mut self) {
        for feed in &self.case.workload.feeds {
            let topic = feed.topic.name;
            for partition in 0..self.log.partitions_of(topic) {
                let place = TopicPartition::new(topic, partition);
                let readers = self.intakes().filter(|(_, edge)| edge.topic.name == topic);
                let committed = readers.map(|(group, _)| {
                    let offsets = self.log.offsets_of(group);
                    offsets.get(&place).map_or(0, |committed| committed.offset)
                });
                if let Some(before) = committed.min() {
                    self.log.delete_records(topic, partition, before);
                }
            }
        }
    }

    /// Whether a partition of a processor's table holds anything.
    fn has_rows(&self, definition: &Definition, partition: i32) -> bool {
        let edges = definition.graph.edges.iter();
        let mut tables = edges.filter(|edge| matches!(edge.kind, EdgeKind::Table));
        tables.any(|edge| !self.log.records(edge.topic.name, partition).is_empty())
    }

    /// The groups lose their offsets: those that have nobody now.
    fn forget(&mut self) {
        if self.processes.iter().any(Process::is_up) {
            return;
        }
        for definition in &self.definitions {
            let group = definition.graph.group;
            let all = self.log.offsets_of(group).into_iter();
            // Where the table has no row, nobody can tell a group that lost its offsets from a new one.
            let (lost, kept) =
                all.partition(|(place, _)| self.has_rows(definition, place.partition));
            self.log.forget_offsets(group);
            self.log.restore_offsets(group, &kept);
            self.forgotten.entry(group).or_default().extend(lost);
        }
        self.count("offsets lost");
    }
}
