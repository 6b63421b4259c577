//! From memory to the stores: when the memtables are flushed, what a flush that fails does, and how
//! much memory all copies may take. A store is never ahead of the acknowledged changelog. Memtables are flushed one
//! after another, so that each is large: a store writes many rows in the order of their keys for less than few.

use std::time::Duration;

use super::ids::CopyId;
use super::plan::Plan;
use super::stop_reason::StopReason;
use super::task::{FlushRules, StoreFailure, Task};
use super::tasks::Tasks;
use crate::record::Offset;
use crate::table::StoreError;

/// How many rows of a copy the cache looks through at a time.
const MAX_LOOKS: usize = 50_000;

/// So many changelog records that are not in the stores are flushed without waiting for the interval: after a kill
/// they are read again.
const MAX_UNSTORED: Offset = 1_000_000;

/// Flushes the copy that is due next, and everything when the worker is `closing`.
pub(super) fn flush_all(tasks: &mut Tasks, closing: bool) {
    let behind = tasks.all.values().map(|task| task.copies.behind());
    let is_far_behind = behind.sum::<Offset>() >= MAX_UNSTORED;
    let (bytes, unstored) = tasks.memory();
    let is_full = is_far_behind || unstored >= tasks.plan.flush_bytes;
    let (now, mut next, mut is_busy) = (tasks.now, None, false);
    for task in tasks.all.values_mut() {
        task.pass_markers_if_idle(now.monotonic);
        let rules = rules(&tasks.plan, task, is_full, closing);
        if closing || task.waits_for_flush() {
            task.flush(now, rules, &mut tasks.out);
            continue;
        }
        is_busy |= task.copies.is_flushing();
        let fullest = task.copies.next_flush(now, rules);
        next = next.max(fullest.map(|(rank, table)| (rank, task.id, table)));
    }
    if let Some((_, id, table)) = next.filter(|_| !is_busy)
        && let Some(task) = tasks.all.get_mut(&id)
    {
        let rules = rules(&tasks.plan, task, is_full, closing);
        task.flush_copy(table, now, rules, &mut tasks.out);
    }
    evict(tasks, bytes);
}

/// Flushes everything of a task that is given back.
pub(super) fn flush_closing(tasks: &mut Tasks, task: &mut Task) {
    let rules = rules(&tasks.plan, task, false, true);
    task.flush(tasks.now, rules, &mut tasks.out);
}

fn rules(plan: &Plan, task: &Task, is_urgent: bool, is_closing: bool) -> FlushRules {
    let interval = plan.flush_interval;
    // Each slice of a walk looks at all rows that are not flushed, so they are flushed sooner. One flush in an
    // interval is synced then.
    let (after, sync_interval) = match task.walk.is_under_way() {
        true => (interval.min(plan.barrier), interval),
        false => (interval, Duration::ZERO),
    };
    FlushRules {
        after,
        sync_interval,
        is_urgent,
        is_closing,
    }
}

/// Applies the result of a flush.
pub(super) fn flushed(tasks: &mut Tasks, copy: CopyId, result: Result<(), StoreError>) {
    let id = copy.task;
    let Some(task) = tasks.all.get_mut(&id) else {
        return;
    };
    task.copies.flushed(copy.table, result.is_ok());
    if task.copies.is_storeless() {
        return;
    }
    match result {
        Ok(()) => {
            if task.copies.flush_succeeded(copy.table) {
                tracing::info!(partition = id.partition, "the store takes writes again");
            }
            task.inspect_if_flushed(&mut tasks.out);
        }
        Err(error @ StoreError::Unreadable { .. }) => tasks.store_damaged(copy, error),
        Err(error) => {
            let (now, timeout) = (tasks.now.monotonic, tasks.plan.store_timeout);
            match task.copies.flush_failed(copy.table, now, timeout) {
                StoreFailure::First => {
                    tracing::warn!(partition = id.partition, %error, "store flush failed, retrying");
                }
                StoreFailure::Repeated => {}
                StoreFailure::TimedOut => tasks.stop(id, StopReason::Store(error)),
            }
        }
    }
}

/// Whether rows that are not flushed take more than the memory budget: intake pauses then.
pub(super) fn exceeds_memory(tasks: &Tasks) -> bool {
    tasks.memory().1 > tasks.plan.memory
}

/// Divides the memory budget: a copy may take what is left of it beside the `bytes` that all take now. If they take more
/// than the budget, each gives back in proportion to its size, looking at [`MAX_LOOKS`] rows at most.
fn evict(tasks: &mut Tasks, bytes: usize) {
    let memory = tasks.plan.memory;
    let over = bytes.saturating_sub(memory);
    let copies = tasks.all.values_mut().map(|task| &mut task.copies);
    for buffer in copies.flat_map(|copies| copies.buffers_mut()) {
        let (own, _) = buffer.bytes();
        if over == 0 {
            buffer.set_limit(own + (memory - bytes));
        } else {
            let share = (over as u128 * own as u128 / bytes as u128) as usize;
            buffer.evict(own - share, MAX_LOOKS);
        }
    }
}
