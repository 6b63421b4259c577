//! Judges what a process left behind, and everything once all input is handled. Part of [`Harness`].

use std::ops::ControlFlow;

use tempfile::TempDir;

use super::stores::read_stores;
use super::{Harness, Kill, PastKill, Result, TIMEOUT};
use crate::child::{INPUTS, OUTPUTS, TABLE, tables};
use crate::input::Inputs;
use crate::life::{Life, Waited};
use crate::oracle::{Finding, Oracle};
use crate::topics::{Follower, PARTITIONS};

impl Harness<'_> {
    /// Judges what a process left behind when it was killed.
    pub(super) fn judge_kill(&mut self, kill: Kill) -> Result<ControlFlow<()>> {
        self.read_outputs(false)?;
        self.ledger.end_life();
        self.past.push(PastKill {
            place: kill.place(),
            committed: self.broker.committed(INPUTS)?,
        });
        let findings = self.judge_stores()?;
        Ok(self.found(findings))
    }

    /// Reads the outputs up to their stable ends, or to their ends; returns whether it got there.
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
    fn judge_stores(&mut self) -> Result<Vec<Finding>> {
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
            findings.extend(self.ledger.judge_store(*partition, *checkpoint, rows));
        }
        Ok(findings)
    }

    /// Runs a process until all input is handled, then compares everything.
    pub(super) fn compare_all(&mut self, inputs: &Inputs) -> Result<ControlFlow<()>> {
        let mut life = self.start(None)?;
        // Input still arrives here, so that the first record shows how long the restart took.
        let began = life.wait(TIMEOUT, Life::has_begun)?;
        inputs.pause()?;
        let ends = self.broker.ends(INPUTS)?;
        let (broker, mut asked) = (&self.broker, Ok(()));
        let is_level = |committed: Vec<i64>| committed.iter().zip(&ends).all(|(at, end)| at >= end);
        let waited = life.wait(TIMEOUT, |_| match broker.committed(INPUTS) {
            Ok(committed) => is_level(committed),
            Err(error) => {
                asked = Err(error);
                true
            }
        })?;
        asked?;
        if !matches!((&began, &waited), (Some(Waited::True), Some(Waited::True))) {
            let tail = life.said().tail();
            let what =
                format!("without a kill it does not reach the end of its input:\n    {tail}");
            return Ok(self.found([Finding {
                oracle: Oracle::GoesOn,
                what,
            }]));
        }
        self.count_restart(life.said().first);
        let mut findings = self.judge_topics()?;
        findings.extend(self.stop_and_judge(&mut life)?);
        self.summary.checks += 1;
        inputs.resume();
        Ok(self.found(findings))
    }

    /// Compares group topic and outputs with the input.
    fn judge_topics(&mut self) -> Result<Vec<Finding>> {
        let ends = self.broker.ends(TABLE)?;
        if !self.read_outputs(true)? || !self.read_changelog(&ends)? {
            let what = "a transaction stays open though all input is committed".to_owned();
            return Ok(vec![Finding {
                oracle: Oracle::GoesOn,
                what,
            }]);
        }
        let findings = self.ledger.judge_all();
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

    fn stop_and_judge(&mut self, life: &mut Life) -> Result<Vec<Finding>> {
        match life.stop(TIMEOUT)? {
            Some(Waited::Ended(status)) if status.success() => {}
            other => {
                let what = format!(
                    "after a request to stop, {other:?}:\n    {}",
                    life.said().tail()
                );
                return Ok(vec![Finding {
                    oracle: Oracle::GoesOn,
                    what,
                }]);
            }
        }
        let mut findings = self.judge_stores()?;
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
