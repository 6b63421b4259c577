//! How the processes of a run start. Part of [`Run`].

use std::sync::Arc;

use super::super::disk::SimulatedDisk;
use super::super::fault_injector::name;
use super::super::workload::Workload;
use super::Run;
use crate::dispatch::ProcessorState;
use crate::graph::{Definition, TopicSpec};
use crate::processor::{OnStop, ProcessorOptions, StartError};
use crate::tester::folded::Folded;
use crate::tester::setup::{shared_state, worker_config};
use crate::worker::WorkerConfig;

/// The cache of each disk's stores, in bytes.
const CACHE: usize = 1 << 20;

impl Run<'_> {
    pub(super) fn start(&mut self, number: usize) {
        let Self {
            definitions,
            config,
            schedule,
            clock,
            log,
            ..
        } = self;
        let make = |disk: &SimulatedDisk, starts: u64| {
            let start = (!schedule.setting.is_static).then_some(starts);
            let options = ProcessorOptions {
                instance: name(number, start),
                guarantee: config.workload.guarantee,
                // Every second instance leaves its group when it stops; the others keep their membership
                // for a restart.
                on_stop: match number % 2 {
                    0 => OnStop::Keep,
                    _ => OnStop::Leave,
                },
                ..schedule.setting.options.clone()
            };
            let table = |spec: &TopicSpec| Arc::new(Folded::new(log, spec));
            let configs = definitions.iter().map(|definition| {
                worker_config(
                    definition,
                    shared(config.workload, definition),
                    (log, clock),
                    Arc::new(disk.stores(CACHE)),
                    &options,
                    table,
                )
            });
            configs.collect::<Result<Vec<WorkerConfig>, StartError>>()
        };
        let handler_time = schedule.handler_time(config.workload);
        let started = self.processes[number].start(log, &handler_time, make);
        self.log_event(format!("instance {number} starts"));
        if let Err(halt) = started {
            self.handle_halt(number, halt);
        }
    }
}

pub(super) fn shared(workload: &Workload, definition: &Definition) -> Arc<ProcessorState> {
    let given = workload.shared.get(&(definition.type_id)());
    shared_state(definition, given.map(|make| make()), "Workload::with(|| ")
}

/// Whether a process could not start because the log was unavailable.
pub(super) fn is_log_away(error: &StartError) -> bool {
    matches!(error, StartError::Log { .. })
}
