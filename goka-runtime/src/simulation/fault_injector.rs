//! What was armed strikes at the next step where it can. Asked by the log, under its lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::log::simulated::{Fault, Faults, Step, StepKind};
use crate::table::redb::SimulatedDisk;

/// A death that waits for its step.
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
    /// Who died since somebody looked.
    died: Vec<usize>,
    counted: BTreeMap<String, u64>,
}

/// What is armed; clones are the same.
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

    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, fault: Fault, on: Option<usize>) {
        self.armed().faults.push((fault, on));
    }

    pub(super) fn arm_death(&self, instance: usize, at: StepKind, power: bool) {
        let death = Death {
            instance,
            at,
            power,
        };
        self.armed().deaths.push(death);
    }

    /// What has found nobody by now strikes whomever it fits.
    pub(super) fn loosen(&self) {
        for (_, on) in &mut self.armed().faults {
            *on = None;
        }
    }

    /// Nothing is armed any more.
    pub(super) fn disarm(&self) {
        let mut armed = self.armed();
        armed.faults.clear();
        armed.deaths.clear();
    }

    /// No death waits for this instance any more.
    pub(super) fn spare(&self, instance: usize) {
        self.armed()
            .deaths
            .retain(|death| death.instance != instance);
    }

    /// Who died since this was last asked.
    pub(super) fn died(&self) -> Vec<usize> {
        std::mem::take(&mut self.armed().died)
    }

    /// At which steps processes died, and how often.
    pub(super) fn deaths(&self) -> BTreeMap<String, u64> {
        self.armed().counted.clone()
    }

    /// Counts a death that no step of the log brought.
    pub(super) fn count(&self, at: &str) {
        *self.armed().counted.entry(at.to_owned()).or_default() += 1;
    }
}

/// The instance of a name: `group/i2/0` and `group/i2.5/0` are the second's.
fn instance(who: &str) -> Option<usize> {
    let name = who.split('/').nth(1)?.strip_prefix('i')?;
    let number = name.split('.').next()?;
    number.parse().ok()
}

/// The name of an instance: the same every time it starts, or another.
pub(super) fn name(instance: usize, start: Option<u64>) -> String {
    match start {
        Some(start) => format!("i{instance}.{start}"),
        None => format!("i{instance}"),
    }
}

impl Faults for FaultInjector {
    fn at(&mut self, step: &Step<'_>) -> Option<Fault> {
        let armed = &mut *self.armed();
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
