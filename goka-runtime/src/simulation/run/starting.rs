//! How the processes of a run start. Part of [`Run`].

use std::sync::Arc;

use super::super::fault_injector::name;
use super::super::schedule::Schedule;
use super::super::workload::Workload;
use super::Run;
use crate::dispatch::ProcessorState;
use crate::graph::{Definition, EdgeKind};
use crate::log::simulated::Simulated;
use crate::log::{Log, TopicWait};
use crate::processor::{OnStop, ProcessorOptions, StartError, prepare};
use crate::record::Guarantee;
use crate::table::redb::SimulatedDisk;
use crate::tester::folded::Folded;
use crate::view::LookedUp;
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
                // Every second instance leaves its group when it stops; the others keep their membership
                // for a restart.
                on_stop: match number % 2 {
                    0 => OnStop::Keep,
                    _ => OnStop::Leave,
                },
                ..options(schedule, config.workload.guarantee, name(number, start))
            };
            let configs = definitions.iter().map(|definition| {
                let stores = Arc::new(disk.stores(CACHE));
                let shared = shared(config.workload, definition);
                let seam: Arc<dyn Log> = Arc::new(log.clone());
                let (mut worker, _) = prepare(
                    definition,
                    shared,
                    seam,
                    stores,
                    &options,
                    &TopicWait::default(),
                )?;
                worker.clock = clock.clone();
                worker.lookups = lookups(definition, log);
                Ok(worker)
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

pub(super) fn options(
    schedule: &Schedule,
    guarantee: Option<Guarantee>,
    instance: String,
) -> ProcessorOptions {
    let setting = &schedule.setting;
    ProcessorOptions {
        instance,
        barrier: setting.barrier,
        session: setting.session,
        guarantee,
        transaction_timeout: setting.transaction_timeout,
        flush_interval: setting.flush_interval,
        flush_bytes: setting.flush_bytes,
        memory: setting.memory,
        ..ProcessorOptions::default()
    }
}

pub(super) fn shared(workload: &Workload, definition: &Definition) -> Arc<ProcessorState> {
    let given = workload.shared.get(&(definition.type_id)());
    let given = given.map(|make| make());
    let given = given.or_else(|| definition.make.map(|make| Arc::from(make())));
    given.unwrap_or_else(|| {
        panic!(
            "`{0}` ({1}) has no `Default`: give it with `Workload::with(|| {0} ..)`",
            definition.graph.name, definition.graph.location
        )
    })
}

pub(super) fn lookups(definition: &Definition, log: &Simulated) -> crate::view::Lookups {
    let edges = definition.graph.edges.iter();
    let edges = edges.filter(|edge| matches!(edge.kind, EdgeKind::Lookup));
    edges
        .map(|edge| {
            let partitions = log.partitions_of(edge.topic.name);
            let table = Folded::new(log.clone(), &edge.topic, partitions);
            let table: Arc<dyn LookedUp> = Arc::new(table);
            (edge.topic.name, table)
        })
        .collect()
}

/// Whether a process could not start because the log was unavailable.
pub(super) fn is_log_away(error: &StartError) -> bool {
    matches!(error, StartError::Log { .. })
}
