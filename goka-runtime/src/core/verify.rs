//! One group name, two programs. What a program commits with its start offsets says which one it is. It
//! looks for another one's before it commits, and once more before its first handler: of two programs that
//! start at the same time, the one that commits later finds the other. Part of [`Core`].

use super::Core;
use super::event::Effect;
use super::stop_reason::StopReason;
use super::task::State;
use crate::log::{CommitBatch, CommitId, Epoch};
use crate::record::TaskId;

impl Core {
    /// A task's start offsets are committed, and what else the group committed is known.
    pub(super) fn verified(
        &mut self,
        id: TaskId,
        epoch: Epoch,
        found: Result<(), StopReason>,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.epoch == epoch) else {
            return;
        };
        if task.state != State::Verifying {
            return;
        }
        match found {
            Ok(()) => {
                task.state = State::Running;
                out.push(Effect::Fetch(id, task.intake()));
                self.has_run = true;
            }
            Err(cause) => {
                self.withdraw(out);
                out.push(Effect::Fail(cause));
            }
        }
    }

    /// Takes back what new tasks say of this program in their start offsets, lest the other program is
    /// refused for one that never ran.
    fn withdraw(&mut self, out: &mut Vec<Effect>) {
        let mut offsets = Vec::new();
        for task in self.tasks.values_mut() {
            if task.state == State::Verifying && task.is_new {
                let committed = task.committed.iter();
                offsets.extend(committed.map(|(topic, at)| (task.id, *topic, *at, String::new())));
            }
            task.state = State::Gone;
        }
        if !offsets.is_empty() && self.settling.is_none() && self.doubt.is_none() {
            self.unit += 1;
            let id = CommitId(self.unit);
            out.push(Effect::Commit(CommitBatch { id, offsets }));
        }
    }
}
