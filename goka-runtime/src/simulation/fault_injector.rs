//! Armed faults: each fires at the next log operation that it fits. Called by the log, under its lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::disk::SimulatedDisk;
use crate::lock::lock;
use crate::log::simulated::{Fault, Faults, Step, StepKind};

/// The kill of an instance that waits for a log operation.
#[derive(Debug)]
struct Death {
    instance: usize,
    at: StepKind,
    power: bool,
}

#[derive(Debug, Default)]
struct Armed {
    faults: Vec<(Fault, Option<usize>)>,
    deaths: Vec<Death>,
    disks: Vec<SimulatedDisk>,
    /// The instances that were killed since the run last asked.
    died: Vec<usize>,
    counted: BTreeMap<String, u64>,
}

/// The faults that are armed. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct FaultInjector(Arc<Mutex<Armed>>);

impl FaultInjector {
    pub(super) fn new(disks: Vec<SimulatedDisk>) -> Self {
        let armed = Armed {
            disks,
            ..Armed::default()
        };
        Self(Arc::new(Mutex::new(armed)))
    }

    pub(super) fn arm(&self, fault: Fault, on: Option<usize>) {
        lock(&self.0).faults.push((fault, on));
    }

    pub(super) fn arm_death(&self, instance: usize, at: StepKind, power: bool) {
        let death = Death {
            instance,
            at,
            power,
        };
        lock(&self.0).deaths.push(death);
    }

    /// Lets faults that were armed for one instance fire at any.
    pub(super) fn untarget(&self) {
        for (_, on) in &mut lock(&self.0).faults {
            *on = None;
        }
    }

    pub(super) fn disarm(&self) {
        let mut armed = lock(&self.0);
        armed.faults.clear();
        armed.deaths.clear();
    }

    pub(super) fn cancel_deaths(&self, instance: usize) {
        lock(&self.0)
            .deaths
            .retain(|death| death.instance != instance);
    }

    pub(super) fn take_died(&self) -> Vec<usize> {
        std::mem::take(&mut lock(&self.0).died)
    }

    /// How many processes were killed, by log operation.
    pub(super) fn deaths(&self) -> BTreeMap<String, u64> {
        lock(&self.0).counted.clone()
    }

    /// Counts a kill that happened at no log operation.
    pub(super) fn count(&self, at: &str) {
        *lock(&self.0).counted.entry(at.to_owned()).or_default() += 1;
    }
}

/// The instance of a name: `group/i2/0` and `group/i2.5/0` are the second's.
fn instance(who: &str) -> Option<usize> {
    let name = who.split('/').nth(1)?.strip_prefix('i')?;
    let number = name.split('.').next()?;
    number.parse().ok()
}

/// The name of an instance; with a number of starts in it, it differs for each start.
pub(super) fn name(instance: usize, start: Option<u64>) -> String {
    match start {
        Some(start) => format!("i{instance}.{start}"),
        None => format!("i{instance}"),
    }
}

impl Faults for FaultInjector {
    fn at(&mut self, step: &Step<'_>) -> Option<Fault> {
        let armed = &mut *lock(&self.0);
        let who = instance(step.who);
        let dies = |death: &Death| Some(death.instance) == who && death.at == step.kind;
        if let Some(at) = armed.deaths.iter().position(dies) {
            let death = armed.deaths.swap_remove(at);
            if let Some(disk) = armed.disks.get(death.instance) {
                match death.power {
                    true => disk.lose_power(),
                    false => disk.kill(),
                }
            }
            armed.died.push(death.instance);
            *armed.counted.entry(step.kind.to_string()).or_default() += 1;
            return Some(Fault::Dies);
        }
        let fits =
            |(fault, on): &(Fault, Option<usize>)| (on.is_none() || *on == who) && fault.fits(step);
        let at = armed.faults.iter().position(fits)?;
        Some(armed.faults.remove(at).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_known_by_its_name() {
        for (who, expected) in [
            ("count/i2/0", Some(2)),
            ("count/i12.7/0", Some(12)),
            ("reader", None),
            ("count/#3/0", None),
        ] {
            assert_eq!(instance(who), expected, "{who}");
        }
        assert_eq!(instance(&format!("g/{}/0", name(4, Some(9)))), Some(4));
        assert_eq!(instance(&format!("g/{}/0", name(4, None))), Some(4));
    }
}
