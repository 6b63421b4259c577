//! Definitions of a group: start positions of inputs, and a table whose definition changed.

use std::sync::Arc;
use std::time::Duration;

use goka::prelude::*;
use goka::{Emitter, Processor, View};
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Log, NewTopic};
use goka_runtime::processor::{ProcessorOptions, Running, start};
use goka_runtime::table::memory::MemoryStores;

use crate::support::kafka::broker;
use crate::support::{TIMEOUT, kafka_log, offsets, wait_until};

fn on_every_log(case: fn(Arc<dyn Log>)) {
    case(Arc::new(Embedded::in_memory().unwrap()));
    let Some(broker) = broker() else { return };
    case(Arc::new(kafka_log(broker.bootstrap())));
}

fn make(log: &dyn Log, topic: &str) {
    let topic = NewTopic {
        name: topic.to_owned(),
        partitions: 2,
        compact: false,
        retention: None,
    };
    log.create(&topic).unwrap();
}

fn run<P: Processor>(log: &Arc<dyn Log>, stores: &Arc<MemoryStores>) -> Running {
    let shared = P::DEFINITION.make.expect("it has a default")();
    let options = ProcessorOptions {
        session_timeout: Duration::from_secs(6),
        ..ProcessorOptions::default()
    };
    let (log, stores) = (Arc::clone(log), Arc::clone(stores));
    start(P::DEFINITION, Arc::from(shared), log, stores, &options).unwrap()
}

#[stream("definitions-early", key = String, value = i64)]
#[derive(Debug)]
struct Early;

#[stream("definitions-late", key = String, value = i64)]
#[derive(Debug)]
struct Late;

#[derive(Debug, Default)]
struct Starts;

#[processor(group = "definitions-starts", persist = i64)]
impl Starts {
    #[input(Early)]
    fn early(&self, ctx: &mut Context, add: i64) -> Result<()> {
        ctx.update(|sum| sum.unwrap_or(0) + add)?;
        Ok(())
    }

    #[input(Late, start = latest)]
    fn late(&self, ctx: &mut Context, add: i64) -> Result<()> {
        ctx.update(|sum| sum.unwrap_or(0) + add)?;
        Ok(())
    }
}

#[test]
fn a_new_input_starts_at_its_declared_position() {
    on_every_log(|log| {
        make(&*log, "definitions-early");
        make(&*log, "definitions-late");
        let early = Emitter::<Early>::new(Arc::clone(&log)).unwrap();
        let late = Emitter::<Late>::new(Arc::clone(&log)).unwrap();
        for at in 0..10 {
            let _ack = early.emit(format!("key-{at}"), &1).unwrap();
            let _ack = late.emit(format!("key-{at}"), &100).unwrap();
        }
        early.flush(TIMEOUT).unwrap();
        late.flush(TIMEOUT).unwrap();
        let stores = Arc::default();
        let running = run::<Starts>(&log, &stores);
        let level = |topic| offsets::is_level(&*log, "definitions-starts", topic, 2);
        wait_until("both are at their ends", TIMEOUT, || {
            level("definitions-early") && level("definitions-late")
        });
        let _ack = late.emit("key-0".to_owned(), &1000).unwrap();
        late.flush(TIMEOUT).unwrap();
        wait_until("the new record is handled", TIMEOUT, || {
            level("definitions-late")
        });
        running.stop();
        running.join().unwrap();
        let view = View::<Starts>::start(log, Arc::new(MemoryStores::default())).unwrap();
        view.wait_ready(TIMEOUT).unwrap();
        assert_eq!(
            view.get("key-0").unwrap(),
            Some(1001),
            "all records of the first input, new ones of the second"
        );
        assert_eq!(view.get("key-1").unwrap(), Some(1));
    });
}

#[stream("definitions-notes", key = String, value = String)]
#[derive(Debug)]
struct Notes;

#[processor(group = "definitions-changed", persist = i64)]
#[input(Notes)]
fn counts_notes(ctx: &mut Context, _note: String) -> Result<()> {
    ctx.update(|count| count.unwrap_or(0) + 1)?;
    Ok(())
}

/// The same group in the next version of the program, with another value.
#[processor(group = "definitions-changed", persist = String)]
#[input(Notes)]
fn keeps_notes(ctx: &mut Context, note: String) -> Result<()> {
    ctx.set_value(&note)?;
    Ok(())
}

#[test]
fn a_table_of_another_definition_is_refused_with_and_without_a_local_copy() {
    on_every_log(|log| {
        make(&*log, "definitions-notes");
        let notes = Emitter::<Notes>::new(Arc::clone(&log)).unwrap();
        for at in 0..10 {
            let _ack = notes.emit(format!("key-{at}"), &"note".to_owned()).unwrap();
        }
        notes.flush(TIMEOUT).unwrap();
        let level = || offsets::is_level(&*log, "definitions-changed", "definitions-notes", 2);
        let disk = Arc::default();
        let running = run::<CountsNotes>(&log, &disk);
        wait_until("it counted", TIMEOUT, level);
        running.stop();
        running.join().unwrap();
        let committed = || offsets::committed(&*log, "definitions-changed", "definitions-notes", 2);
        let before = committed();

        for (stores, said) in [
            (disk, "value was `integer`, now is `utf8`"),
            (Arc::default(), "utf8"),
        ] {
            let running = run::<KeepsNotes>(&log, &stores);
            wait_until("it ends by itself", TIMEOUT, || running.is_finished());
            let error = running.join().unwrap_err().to_string();
            assert!(
                error.contains("definitions-changed") && error.contains(said),
                "{error}"
            );
            assert_eq!(committed(), before, "offsets stay where they were");
        }
    });
}
