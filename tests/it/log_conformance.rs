//! The behaviour that all log engines have in common: one list of cases, run on the embedded log in memory
//! and in a file, on the simulated log, and on Kafka. A case creates topics and groups of its own, and waits
//! with a timeout.

pub mod as_kafka;
mod members;
mod offset_gaps;
mod rebalances;
pub mod rig;
mod topics;
mod transactions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use goka_runtime::clock::Clock;
use goka_runtime::log::Log;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::simulated::Simulated;

/// A case: its name and its function.
type Case = (&'static str, fn(&dyn Log));

macro_rules! cases {
    ($($module:ident: $($case:ident)*;)*) => {
        &[$($((stringify!($case), $module::$case)),*),*]
    };
}

/// All cases; the same for every engine.
pub const CASES: &[Case] = cases! {
    topics:
        create_and_describe create_with_retention create_twice unknown_topic cluster_is_stable
        records_come_back_as_they_were the_log_chooses_a_timestamp order_in_each_partition
        ranges_follow reader_from_the_middle reader_at_the_end reader_of_nothing
        reader_of_two_partitions reader_out_of_range appender_tells_offsets
        appender_flushes_when_dropped appender_refuses_what_is_too_large senders_share_an_appender;
    members:
        join_assigns_all_tasks committed_offsets_come_with_the_next_assignment
        committed_offsets_are_seen_by_others a_fetch_begins_at_its_position a_batch_names_its_task_and_epoch
        nothing_is_fetched_unasked two_inputs_are_one_task
        a_joined_topic_is_fetched_beside_the_inputs
        new_records_arrive_while_polling acks_are_contiguous outputs_are_not_counted_as_changelog
        a_record_written_to_an_own_input_is_fetched a_released_task_can_be_fetched_from_another_offset pause_and_resume
        an_input_out_of_range_fails a_refused_record_fails_its_task_only a_batch_that_is_committed_twice
        an_empty_commit a_rebuilt_producer_continues records_that_are_not_taken_are_delivered_again
        records_that_are_not_taken_do_not_block_other_inputs
        records_that_are_not_taken_are_dropped_by_a_new_fetch
        a_member_that_is_kept_alive_keeps_its_tasks;
    rebalances:
        a_revoked_task_resumes_at_its_committed_offset a_task_that_stays_keeps_its_epoch_and_fetch
        a_member_that_leaves_gives_its_tasks_away a_member_that_crashes_gives_its_tasks_away
        an_assignment_after_another_has_a_later_epoch each_partition_of_a_stateless_input_is_a_task
        groups_do_not_see_each_other poll_returns_in_time;
    transactions:
        records_and_offsets_of_a_commit_become_visible_together an_aborted_transaction_leaves_nothing_visible
        a_commit_with_a_refused_record_commits_nothing a_commit_of_offsets_only
        markers_count_the_offsets_before_the_next_commit an_empty_commit_and_an_empty_abort
        a_transaction_that_a_closed_member_left_open_blocks_no_reader
        a_commit_during_a_revocation_is_where_the_next_owner_starts;
    offset_gaps:
        a_member_reaches_the_end_behind_control_records
        a_gap_is_reported_again_after_moving_back an_open_transaction_is_no_gap
        commits_of_offsets_alone_make_no_gap;
};

/// Cases of Kafka and the simulated log alone: their members write before they commit, those of the embedded
/// log when they commit.
const AS_KAFKA: &[Case] = cases! {
    as_kafka:
        records_are_in_the_log_before_they_are_committed an_open_transaction_blocks_readers
        an_aborted_transaction_stays_in_the_log a_duplicate_instance_fences_the_transactions_of_the_first
        a_restarted_member_aborts_the_transaction_that_was_left_open
        a_restarted_instance_gets_its_tasks_back_without_a_rebalance
        of_two_members_with_one_identity_the_older_is_fenced;
};

/// How many cases run at once: most of them wait for a broker.
const AT_ONCE: usize = 8;

/// Runs all cases on one engine; panics with the names of those that fail, or returns how many there are.
pub fn run(engine: &str, log: &dyn Log) -> usize {
    run_all(CASES, engine, log)
}

fn run_all(cases: &[Case], engine: &str, log: &dyn Log) -> usize {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| case(log))).is_err() {
                        failed
                            .lock()
                            .expect("no thread panics while it holds the lock")
                            .push(*name);
                    }
                }
            });
        }
    });
    let failed = failed
        .into_inner()
        .expect("no thread panics while it holds the lock");
    println!(
        "log conformance: {} of {} cases pass on {engine}",
        cases.len() - failed.len(),
        cases.len()
    );
    assert!(failed.is_empty(), "{engine} fails {failed:?}");
    cases.len()
}

#[test]
fn embedded_in_memory() {
    let log = Embedded::in_memory().expect("a log in memory");
    assert_eq!(run("the embedded log in memory", &log), CASES.len());
}

#[test]
fn embedded_on_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = Embedded::open(&directory.path().join("log.redb")).expect("a new log");
    assert_eq!(run("the embedded log on a file", &log), CASES.len());
}

#[test]
fn simulated() {
    // It follows the machine's clock, since the cases wait.
    let log = Simulated::new(Clock::default());
    assert_eq!(run("the simulated log", &log), CASES.len());
    let as_kafka = run_all(AS_KAFKA, "the simulated log, as Kafka", &log);
    assert_eq!(as_kafka, AS_KAFKA.len());
}

#[test]
fn kafka() {
    let Some(broker) = crate::support::kafka::broker() else {
        return;
    };
    let log = crate::support::kafka_log(broker.bootstrap());
    assert_eq!(run("Apache Kafka", &log), CASES.len());
    let as_kafka = run_all(AS_KAFKA, "Apache Kafka itself", &log);
    assert_eq!(as_kafka, AS_KAFKA.len());
}
