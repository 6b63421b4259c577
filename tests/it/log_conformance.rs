//! What every log engine does alike: one list of cases, run on the embedded log in memory and on
//! a file, on the simulated log, and on Kafka. A case makes topics and groups of its own and waits with a deadline.

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

/// What an engine has to do.
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
        join_assigns_all_tasks settled_offsets_come_with_the_next_assignment
        committed_is_seen_from_outside a_batch_begins_where_it_was_asked a_batch_says_whose_it_is
        nothing_is_fetched_before_it_was_asked two_inputs_are_one_task
        a_joined_topic_is_fetched_beside_the_inputs
        new_records_arrive_while_polling acks_are_contiguous outputs_are_not_counted_as_changelog
        a_loop_comes_back release_and_fetch_elsewhere pause_and_resume
        an_input_out_of_range_is_broken a_refused_record_fails_its_task_only a_unit_settled_twice
        an_empty_unit rebuild_goes_on records_that_are_not_taken_come_again
        records_that_are_not_taken_let_other_inputs_pass
        records_that_are_not_taken_are_dropped_by_a_move
        a_member_that_is_kept_alive_keeps_its_tasks;
    rebalances:
        a_revoked_task_goes_on_where_it_was_settled a_task_that_stays_goes_on
        a_member_that_leaves_gives_its_tasks_away a_member_that_crashes_gives_its_tasks_away
        an_assignment_after_another_has_a_later_epoch stateless_inputs_are_tasks_apart
        groups_do_not_see_each_other poll_returns_in_time;
    transactions:
        a_units_records_and_offsets_become_visible_together an_aborted_unit_leaves_nothing
        a_unit_with_a_refused_record_commits_nothing a_unit_of_offsets_only
        markers_tell_where_the_next_unit_begins nothing_to_settle_and_nothing_to_abort
        a_member_closed_with_an_open_unit_holds_nobody_back
        a_unit_settled_in_a_revocation_is_the_next_owners_start;
    offset_gaps:
        a_member_comes_to_the_end_over_control_records
        a_gap_is_reported_again_after_moving_back an_open_transaction_is_no_gap
        offsets_alone_leave_nothing_to_pass;
};

/// What the simulated log rests on, of Kafka; the embedded log writes when it settles.
const AS_KAFKA: &[Case] = cases! {
    as_kafka:
        records_lie_in_the_log_before_they_are_settled an_open_unit_holds_readers_back
        an_aborted_unit_stays_in_the_log a_twin_fences_the_transactions_of_the_first
        a_restarted_member_ends_what_its_predecessor_left_open
        a_restarted_instance_has_its_tasks_again_and_moves_nothing
        of_two_twins_the_older_is_fenced;
};

/// How many cases run at once: most of them wait for a broker.
const ABREAST: usize = 8;

/// Runs all cases on one engine, tells every one that fails, and says how many ran.
pub fn run(engine: &str, log: &dyn Log) -> usize {
    run_all(CASES, engine, log)
}

fn run_all(cases: &[Case], engine: &str, log: &dyn Log) -> usize {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| case(log))).is_err() {
                        failed.lock().expect("nobody panics with it").push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    println!(
        "log conformance: {} of {} cases hold on {engine}",
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
    // By the machine's clock, since the cases wait.
    let log = Simulated::new(Clock::default());
    assert_eq!(run("the simulated log", &log), CASES.len());
    let as_kafka = run_all(AS_KAFKA, "the simulated log, as Kafka", &log);
    assert_eq!(as_kafka, AS_KAFKA.len());
}

#[cfg(feature = "kafka")]
#[test]
fn kafka() {
    use goka_runtime::log::kafka::{Kafka, KafkaConfig};

    let Some(broker) = crate::support::kafka::broker() else {
        return;
    };
    let log = Kafka::new(KafkaConfig {
        brokers: broker.bootstrap(),
        ..KafkaConfig::default()
    })
    .expect("a client");
    assert_eq!(run("Apache Kafka", &log), CASES.len());
    let as_kafka = run_all(AS_KAFKA, "Apache Kafka itself", &log);
    assert_eq!(as_kafka, AS_KAFKA.len());
}
