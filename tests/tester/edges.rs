//! Every kind of edge, chains of processors, handlers with shared values, deferred work.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use goka::Guarantee;
use goka::prelude::*;
use goka::tester::Tester;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    to: String,
    text: String,
}

#[stream("messages", key = String, value = Json<Message>)]
pub(crate) struct Messages;

#[stream("notes", key = String, value = String)]
pub(crate) struct Notes;

/// Written by another program.
#[table("names", key = String, value = String)]
pub(crate) struct Names;

#[stream("measurements", keyless, value = i64)]
pub(crate) struct Measurements;

/// A message goes to another key by a loopback; the receiver's name is joined, the sender's looked up.
pub(crate) struct Mailbox {
    greeting: &'static str,
}

#[processor(group = "mailbox", persist = i64)]
#[join(Names)]
#[lookup(Names)]
#[output(Notes)]
impl Mailbox {
    #[input(Messages)]
    fn on_message(&self, ctx: &mut Context, message: Message) -> Result<()> {
        let sender = ctx.lookup(Names, ctx.key())?.unwrap_or_default();
        ctx.loopback(&message.to, &format!("{} from {sender}", message.text))?;
        Ok(())
    }

    #[loopback]
    fn on_delivery(&self, ctx: &mut Context, text: String) -> Result<()> {
        ctx.update(|n| n.unwrap_or(0) + 1)?;
        let name = ctx.join(Names)?.unwrap_or_default();
        let note = format!("{} {name}: {text}", self.greeting);
        ctx.emit(Notes, ctx.key(), &note)?;
        Ok(())
    }

    /// Forgets those with fewer messages.
    #[visit]
    fn forget(&self, ctx: &mut Context, least: i64) -> Result<()> {
        if ctx.value()?.unwrap_or(0) < least {
            ctx.delete()?;
        }
        Ok(())
    }
}

/// Keeps the length of the last note of each user.
#[processor(group = "lengths", persist = i64)]
#[input(Notes)]
pub(crate) fn lengths(ctx: &mut Context, note: &str) -> Result<()> {
    ctx.set_value(&i64::try_from(note.len())?)?;
    Ok(())
}

fn message(to: &str) -> Message {
    let (to, text) = (to.to_owned(), "hi".to_owned());
    Message { to, text }
}

fn mailbox() -> Tester {
    let greeting = "dear";
    let setup = Tester::new().with(Mailbox { greeting });
    let mut app = setup.and::<Lengths>().start();
    app.input(Names).send("alice", "Alice");
    app.input(Names).send("bob", "Bob");
    app
}

#[test]
fn one_record_goes_through_every_edge() {
    let mut app = mailbox();
    app.input(Messages).send("alice", &message("bob"));
    app.output(Notes)
        .expect([("bob", "dear Bob: hi from Alice")]);
    assert_eq!(app.table::<Mailbox>().get("bob"), Some(1));
    // The next processor in the chain has handled the output.
    assert_eq!(app.table::<Lengths>().get("bob"), Some(23));
    // A row of the other program's table is deleted.
    assert_eq!(app.table::<Names>().get("alice").as_deref(), Some("Alice"));
    app.input(Names).send_tombstone("alice");
    app.input(Messages).send("alice", &message("bob"));
    app.output(Notes).expect([("bob", "dear Bob: hi from ")]);
}

#[test]
fn every_key_is_visited() {
    let mut app = mailbox();
    for user in (0..20).map(|user| format!("user-{user}")) {
        app.input(Messages).send("alice", &message(&user));
    }
    app.input(Messages).send("alice", &message("user-7"));
    assert_eq!(app.table::<Mailbox>().len(), 20);
    app.visit::<Mailbox>("forget", "2");
    let left: Vec<_> = app.table::<Mailbox>().iter().collect();
    assert_eq!(left, [("user-7".to_owned(), 2)]);
}

#[test]
fn edges_work_after_a_rebalance() {
    let mut app = mailbox();
    app.input(Messages).send("alice", &message("bob"));
    app.rebalance();
    app.input(Messages).send("bob", &message("bob"));
    let notes = ["dear Bob: hi from Alice", "dear Bob: hi from Bob"];
    app.output(Notes).expect(notes.map(|note| ("bob", note)));
    assert_eq!(app.table::<Mailbox>().get("bob"), Some(2));
}

/// A processor without a table and without keys.
pub(crate) struct Sums(Arc<AtomicI64>);

#[processor(group = "sums", key = goka::NoKey)]
impl Sums {
    #[input(Measurements)]
    fn on(&self, ctx: &mut Context, value: i64) -> Result<()> {
        let _ = ctx;
        self.0.fetch_add(value, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn keyless_records_are_spread_over_partitions() {
    let sum = Arc::new(AtomicI64::new(0));
    let mut app = Tester::new().with(Sums(sum.clone())).start();
    for value in 1..=10 {
        app.input(Measurements).send_value(&value);
    }
    assert_eq!(sum.load(Ordering::Relaxed), 55);
}

#[stream("jobs", key = String, value = String)]
pub(crate) struct Jobs;

#[stream("done", key = String, value = String)]
pub(crate) struct Done;

/// Handles a long job within twelve hours; a short one is done a second after its handler has returned.
#[derive(Default)]
pub(crate) struct Works;

#[processor(group = "works", persist = i64)]
#[output(Done)]
impl Works {
    #[input(Jobs)]
    async fn on_job(&self, ctx: &mut Context, job: &str) -> Result<()> {
        if job == "long" {
            tokio::time::sleep(Duration::from_secs(12 * 3_600)).await;
        } else {
            let guard = ctx.defer();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                guard.done();
            });
        }
        ctx.update(|n| n.unwrap_or(0) + 1)?;
        ctx.emit(Done, ctx.key(), job)?;
        Ok(())
    }
}

#[test]
fn an_asynchronous_handler_is_done_when_send_returns() {
    let mut app = Tester::of::<Works>();
    app.input(Jobs).send("alice", "long");
    app.output(Done).expect([("alice", "long")]);
    assert_eq!(app.table::<Works>().get("alice"), Some(1));
}

#[test]
fn deferred_work_completes_when_the_clock_advances() {
    let setup = Tester::new().and::<Works>();
    let mut app = setup.guarantee(Guarantee::ExactlyOnce).start();
    app.input(Jobs).send("alice", "short");
    // The transaction is still open.
    app.output(Done).expect_none();
    assert_eq!(app.table::<Works>().get("alice"), None);
    app.advance(Duration::from_secs(2));
    app.output(Done).expect([("alice", "short")]);
    assert_eq!(app.table::<Works>().get("alice"), Some(1));
}

/// After a crash, a restart or a rebalance of the instance that deferred it.
#[test]
fn what_was_deferred_is_handled_again_elsewhere() {
    let moves: [fn(&mut Tester); 3] = [Tester::crash, Tester::restart, Tester::rebalance];
    let guarantees = [(Guarantee::AtLeastOnce, 2), (Guarantee::ExactlyOnce, 1)];
    for (happens, (guarantee, handled)) in moves
        .into_iter()
        .flat_map(|happens| guarantees.map(|with| (happens, with)))
    {
        let mut app = Tester::new().and::<Works>().guarantee(guarantee).start();
        app.input(Jobs).send("alice", "short");
        happens(&mut app);
        app.advance(Duration::from_secs(2));
        let done = vec![("alice", "short"); handled];
        app.output(Done).expect(done);
        let count = i64::try_from(handled).unwrap();
        let counted = app.table::<Works>().get("alice");
        assert_eq!(counted, Some(count), "{guarantee}");
        // Committed records are not handled again.
        happens(&mut app);
        app.advance(Duration::from_secs(2));
        app.output(Done).expect_none();
    }
}
