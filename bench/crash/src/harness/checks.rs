//! Checks what a process left behind, and everything once all input is handled. Part of [`Harness`].

use std::ops::ControlFlow;

use tempfile::TempDir;

use super::stores::read_stores;
use super::{Harness, Kill, PastKill, Result, TIMEOUT};
use crate::child::{INPUTS, OUTPUTS, TABLE, tables};
use crate::input::Inputs;
use crate::oracle::{Finding, Oracle};
use crate::process::{Process, WaitResult};
use crate::topics::{Follower, PARTITIONS};

impl Harness<'_> {
    /// Checks what a process left behind when it was killed.
    pub(super) fn check_kill(&mut self, kill: Kill) -> Result<ControlFlow<()>> {
        self.read_outputs(false)?;
        self.ledger.end_process();
        self.past.push(PastKill {
            place: kill.place(),
            committed: self.broker.committed(INPUTS)?,
        });
        let findings = self.check_stores()?;
        Ok(self.found(findings))
    }

    /// Reads the outputs to their last stable offsets, or to their ends; returns whether it got there.
    fn read_outputs(&mut self, to_the_end: bool) -> Result<bool> {
        let ends = match to_the_end {
            true => self.broker.ends(OUTPUTS)?,
            false => self.broker.stable_ends(OUTPUTS)?,
        };
        self.read_inputs()?;
        let ledger = &mut self.ledger;
        let take = |seen: crate::topics::Seen<'_>| ledger.take_output(seen);
        Ok(self.followers.outputs.reach(&ends, TIMEOUT, take)?)
    }

    fn read_inputs(&mut self) -> Result<()> {
        let ends = self.broker.ends(INPUTS)?;
        let ledger = &mut self.ledger;
        let inputs = &mut self.followers.inputs;
        match inputs.reach(&ends, TIMEOUT, |seen| ledger.take_input(seen))? {
            true => Ok(()),
            false => Err("the input cannot be read to its end".into()),
        }
    }

    fn read_changelog(&mut self, targets: &[i64]) -> Result<bool> {
        if self.followers.changelog.is_none() {
            // The first process created it.
            self.followers.changelog = Some(Follower::new(&self.launcher.brokers, TABLE)?);
        }
        let Some(changelog) = &mut self.followers.changelog else {
            return Ok(false);
        };
        let ledger = &mut self.ledger;
        Ok(changelog.reach(targets, TIMEOUT, |seen| ledger.take_change(seen))?)
    }

    /// Reads a copy of every store: opening a store repairs it, which is the next process's work.
    fn check_stores(&mut self) -> Result<Vec<Finding>> {
        let copy = TempDir::with_prefix("goka-crash-copy-")?;
        let stores = read_stores(&tables(&self.launcher.data), copy.path())?;
        if stores.is_empty() {
            return Ok(Vec::new());
        }
        let ends = self.broker.ends(TABLE)?;
        let mut findings = Vec::new();
        let mut targets = vec![0; PARTITIONS as usize];
        for (partition, checkpoint, _) in &stores {
            let end = ends[*partition as usize];
            targets[*partition as usize] = (*checkpoint).min(end);
            if *checkpoint > end {
                let what = format!(
                    "partition {partition}: the store reaches offset {checkpoint} of the group topic, \
                     which ends at {end}"
                );
                findings.push(Finding {
                    oracle: Oracle::StoreAhead,
                    what,
                });
            }
        }
        if !self.read_changelog(&targets)? {
            let what = format!("stores hold records that no transaction commits: {targets:?}");
            findings.push(Finding {
                oracle: Oracle::StoreAhead,
                what,
            });
            return Ok(findings);
        }
        for (partition, checkpoint, rows) in &stores {
            findings.extend(self.ledger.check_store(*partition, *checkpoint, rows));
        }
        Ok(findings)
    }

    /// Runs a process until all input is handled, then compares everything.
    pub(super) fn compare_all(&mut self, inputs: &Inputs) -> Result<ControlFlow<()>> {
        let mut process = self.start(None)?;
        // Input still arrives here, so that the first record shows how long the restart took.
        let began = process.wait(TIMEOUT, Process::has_begun)?;
        inputs.pause()?;
        let ends = self.broker.ends(INPUTS)?;
        let (broker, mut asked) = (&self.broker, Ok(()));
        let is_level = |committed: Vec<i64>| committed.iter().zip(&ends).all(|(at, end)| at >= end);
        let waited = process.wait(TIMEOUT, |_| match broker.committed(INPUTS) {
            Ok(committed) => is_level(committed),
            Err(error) => {
                asked = Err(error);
                true
            }
        })?;
        asked?;
        if !matches!(
            (&began, &waited),
            (Some(WaitResult::Condition), Some(WaitResult::Condition))
        ) {
            let tail = process.output().tail();
            let what =
                format!("it does not reach the end of its input without a kill:\n    {tail}");
            return Ok(self.found([Finding {
                oracle: Oracle::Progress,
                what,
            }]));
        }
        self.count_restart(process.output().first);
        let mut findings = self.check_topics()?;
        findings.extend(self.stop_and_check(&mut process)?);
        self.summary.checks += 1;
        inputs.resume();
        Ok(self.found(findings))
    }

    /// Compares group topic and outputs with the input.
    fn check_topics(&mut self) -> Result<Vec<Finding>> {
        let ends = self.broker.ends(TABLE)?;
        if !self.read_outputs(true)? || !self.read_changelog(&ends)? {
            let what = "a transaction is still open though all input is committed".to_owned();
            return Ok(vec![Finding {
                oracle: Oracle::Progress,
                what,
            }]);
        }
        let findings = self.ledger.check_all();
        for (partition, offset) in self.ledger.lost() {
            // Counted for the first kill after which its offset was committed.
            let by = self
                .past
                .iter()
                .find(|kill| kill.committed[partition as usize] > offset);
            let place = by.map_or_else(|| self.last_place(), |kill| kill.place);
            self.summary.at(place).losses += 1;
        }
        Ok(findings)
    }

    fn stop_and_check(&mut self, process: &mut Process) -> Result<Vec<Finding>> {
        match process.stop(TIMEOUT)? {
            Some(WaitResult::Ended(status)) if status.success() => {}
            other => {
                let what = format!(
                    "after a request to stop, {other:?}:\n    {}",
                    process.output().tail()
                );
                return Ok(vec![Finding {
                    oracle: Oracle::Progress,
                    what,
                }]);
            }
        }
        let mut findings = self.check_stores()?;
        let copy = TempDir::with_prefix("goka-crash-copy-")?;
        let stores = read_stores(&tables(&self.launcher.data), copy.path())?;
        let ends = self.broker.ends(TABLE)?;
        for (partition, end) in (0..).zip(ends) {
            let checkpoint = stores
                .iter()
                .find(|(of, ..)| *of == partition)
                .map(|(_, checkpoint, _)| *checkpoint);
            // After the last record there may only be control records.
            if self
                .ledger
                .has_changes_from(partition, checkpoint.unwrap_or(0))
            {
                let what = format!(
                    "partition {partition}: at {checkpoint:?}, the group topic ends at {end}"
                );
                findings.push(Finding {
                    oracle: Oracle::StoreIsLevel,
                    what,
                });
            }
        }
        Ok(findings)
    }
}
