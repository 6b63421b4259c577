//! Performs the steps of the schedule. Part of [`Run`].

use super::super::oracles::inputs_of;
use super::super::process::Process;
use super::super::schedule::{Step, StepAction};
use super::Run;
use crate::graph::{Definition, Edge};
use crate::record::TopicPartition;

impl Run<'_> {
    pub(super) fn perform(&mut self, step: &Step) {
        let now = self.clock.monotonic();
        if !matches!(step.action, StepAction::Feed { .. }) {
            self.log_event(step.to_string());
        }
        match &step.action {
            StepAction::Feed { topic, record } => {
                self.counters.records += 1;
                self.put(topic, record);
            }
            StepAction::Inject { fault, on } => self.injector.arm(*fault, *on),
            StepAction::Kill {
                instance,
                at: Some(at),
                power,
            } => {
                if self.processes[*instance].is_up() {
                    self.injector.arm_death(*instance, *at, *power);
                }
            }
            StepAction::Kill {
                instance, power, ..
            } => self.kill(*instance, *power),
            StepAction::LosePowerWriting { instance, writes } => {
                self.processes[*instance].disk.lose_power_after(*writes);
            }
            StepAction::Stop { instance } => {
                if self.processes[*instance].is_up() {
                    self.stop(*instance);
                    self.count("stop");
                }
                self.processes[*instance].restart_at = None;
            }
            StepAction::Start {
                instance,
                on_empty_disk,
            } => self.restart(*instance, *on_empty_disk),
            StepAction::Stall { instance, time } => {
                self.processes[*instance].stalled_until = now + *time;
                self.count("stall");
            }
            StepAction::FailSyncs { instance, syncs } => {
                self.processes[*instance].disk.fail_syncs(*syncs);
            }
            StepAction::SetDiskFull { instance, is_full } => {
                self.processes[*instance].disk.set_full(*is_full);
            }
            StepAction::Compact => {
                self.compact();
                self.count("compaction");
            }
            StepAction::ApplyRetention => {
                self.apply_retention();
                self.count("retention");
            }
            StepAction::SetClock(by) => {
                self.clock.set_wall(self.clock.wall() + by);
                self.count("clock set");
            }
            StepAction::LoseOffsets => self.lose_offsets(),
        }
    }

    fn kill(&mut self, instance: usize, power: bool) {
        let process = &mut self.processes[instance];
        process.restart_at = None;
        if !process.is_up() {
            return;
        }
        match power {
            true => process.disk.lose_power(),
            false => process.disk.kill(),
        }
        process.die(&self.log);
        self.injector.count("between two turns");
    }

    fn restart(&mut self, instance: usize, on_empty_disk: bool) {
        self.injector.cancel_deaths(instance);
        if self.processes[instance].is_up() {
            return;
        }
        if on_empty_disk {
            self.processes[instance].disk.wipe();
            self.count("disk emptied");
        }
        self.start(instance);
    }

    /// Stops a process cleanly; it is gone as well if a fault kills it meanwhile.
    pub(super) fn stop(&mut self, instance: usize) {
        self.processes[instance].stop();
        self.injector.take_died();
    }

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

    /// All inputs and loopbacks, with their groups.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (&'static str, &'static Edge)> {
        let definitions = self.definitions.clone().into_iter();
        definitions.flat_map(move |definition| {
            inputs_of(definition).map(move |edge| (definition.graph.group, edge))
        })
    }

    /// Deletes from the workload's input topics what every group has committed past.
    fn apply_retention(&mut self) {
        for feed in &self.config.workload.fed_topics {
            let topic = feed.topic.name;
            for partition in 0..self.log.partitions_of(topic) {
                let at = TopicPartition::new(topic, partition);
                let readers = self.inputs().filter(|(_, edge)| edge.topic.name == topic);
                let committed = readers.map(|(group, _)| {
                    let offsets = self.log.offsets_of(group);
                    offsets.get(&at).map_or(0, |committed| committed.offset)
                });
                if let Some(before) = committed.min() {
                    self.log.delete_records(topic, partition, before);
                }
            }
        }
    }

    fn has_rows(&self, definition: &Definition, partition: i32) -> bool {
        let table = definition.graph.table();
        table.is_some_and(|edge| !self.log.records(edge.topic.name, partition).is_empty())
    }

    /// Deletes the committed offsets of all groups, unless a process is running.
    fn lose_offsets(&mut self) {
        if self.processes.iter().any(Process::is_up) {
            return;
        }
        for definition in &self.definitions {
            let group = definition.graph.group;
            let all = self.log.offsets_of(group).into_iter();
            // Without rows in its table a group that lost its offsets looks like a new one.
            let (lost, kept) = all.partition(|(at, _)| self.has_rows(definition, at.partition));
            self.log.forget_offsets(group);
            self.log.restore_offsets(group, &kept);
            self.lost_offsets.entry(group).or_default().extend(lost);
        }
        self.count("offsets lost");
    }
}
