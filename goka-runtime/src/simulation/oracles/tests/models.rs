//! The model with a processor that has every kind of edge.

use std::any::TypeId;

use super::*;
use crate::codec::CodecOf;
use crate::dispatch::{Call, Destination, Handling, RawRecord};
use crate::graph::{Edge, EdgeKind, GroupGraph, Location, Start, TopicKind, TopicSpec};
use crate::partitioner::{Murmur2, Partitioner};
use crate::record::Guarantee::ExactlyOnce;
use crate::shared_error::HandlerError;
use crate::topic::Topic;

pub(super) const WORDS: &str = "words";
pub(super) const SEEN: &str = "relay-state";
pub(super) const LOOP: &str = "relay-loop";
pub(super) const NAMES: &str = "names";
const RELAY: &str = "relay";

struct Text;

impl Topic for Text {
    type Key = String;
    type Value = String;
    type Partitioner = Murmur2;
    const NAME: &'static str = "text";
    const CODEC: CodecOf<String> = CodecOf::new::<String>();
    const PARTITIONS: Option<i32> = None;
}

const HERE: Location = Location {
    file: file!(),
    line: line!(),
    column: 1,
};

const fn edge(kind: EdgeKind, name: &'static str) -> Edge {
    let topic = TopicSpec {
        name,
        kind: TopicKind::Stream,
        ..Text::SPEC
    };
    Edge {
        kind,
        topic,
        location: HERE,
    }
}

const fn input(call: Call, start: Start) -> EdgeKind {
    EdgeKind::Input {
        call,
        tombstones: false,
        start,
    }
}

static EDGES: [Edge; 5] = [
    edge(input(Call::Async(on_word), Start::Earliest), WORDS),
    edge(
        EdgeKind::Loopback {
            call: Call::Sync(on_loop),
        },
        LOOP,
    ),
    edge(EdgeKind::Table, SEEN),
    edge(EdgeKind::Join, NAMES),
    edge(EdgeKind::Lookup, NAMES),
];

static LATE: [Edge; 1] = [edge(input(Call::Sync(on_loop), Start::Latest), WORDS)];

const fn definition(edges: &'static [Edge]) -> Definition {
    Definition {
        graph: GroupGraph {
            name: "Relay",
            group: RELAY,
            location: HERE,
            guarantee: ExactlyOnce,
            edges,
        },
        make: None,
        type_id: TypeId::of::<()>,
    }
}

static DEFINITION: Definition = definition(&EDGES);
static LATE_DEFINITION: Definition = definition(&LATE);

/// Sends the names of a word's key and of the word to the key that the word is.
fn on_word<'r>(_: &'r ProcessorState, raw: RawRecord<'r>) -> Handling<'r> {
    Box::pin(async move {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        drop(raw.scope.defer());
        let word = raw.record.value.unwrap_or_default();
        if word == b"bad" {
            return Err("a bad word".into());
        }
        let name = raw.scope.join(NAMES)?.map(|name| name.value.to_vec());
        let mut key = |out: &mut Vec<u8>| {
            out.extend_from_slice(word);
            Ok(())
        };
        let other = raw.scope.lookup(NAMES, &mut key)?;
        let mut text = name.unwrap_or_default();
        text.push(b'>');
        text.extend_from_slice(other.map(|other| other.value).unwrap_or_default());
        let to = Destination {
            topic: LOOP,
            partition_of: Murmur2::partition,
        };
        let mut value = |out: &mut Vec<u8>| {
            out.extend_from_slice(&text);
            Ok(())
        };
        raw.scope
            .emit(&to, Some(&mut key), Some(&mut value), None, &[])?;
        Ok(())
    })
}

/// Appends the value to the row of its key.
fn on_loop(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    let held = raw.scope.load()?.map(|held| held.value.to_vec());
    let mut all = held.unwrap_or_default();
    all.extend_from_slice(raw.record.value.unwrap_or_default());
    all.push(b' ');
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(&all);
        Ok(())
    }))?;
    Ok(())
}

fn relayed() -> Script {
    let mut script = Script::new(RELAY);
    script.feed(NAMES, "a", "Ann");
    script.feed(NAMES, "b", "Bob");
    script.feed(WORDS, "a", "b");
    script.feed(WORDS, "b", "b");
    script.handle((A, 1), WORDS, 0, &[wrote(LOOP, "b", "Ann>Bob")]);
    script.handle((A, 1), WORDS, 1, &[wrote(LOOP, "b", "Bob>Bob")]);
    script.commit(A, WORDS, 2);
    script.end(1, true);
    script.handle((A, 2), LOOP, 0, &[wrote(SEEN, "b", "Ann>Bob ")]);
    script.handle((A, 2), LOOP, 1, &[wrote(SEEN, "b", "Ann>Bob Bob>Bob ")]);
    script.commit(A, LOOP, 2);
    script.end(2, true);
    script
}

fn relay() -> JudgedProcessor {
    JudgedProcessor::new(&DEFINITION, ExactlyOnce).loaded(NAMES)
}

#[test]
fn the_model_supports_all_that_a_handler_may_do() {
    let findings = relayed().judged(&relay());
    passes(&findings);
    assert_eq!(findings.unjudged, Vec::<String>::new());
}

#[test]
fn the_model_reads_loaded_tables() {
    let mut script = relayed();
    script.feed(NAMES, "a", "Eve");
    // A loaded table does not change, so the model takes its last value for all records.
    let findings = script.judged(&relay());
    assert_eq!(broken_rules(&findings), ["outputs once"]);
    let what = "relay-loop[0] key \"b\" = \"Eve>Bob\" is missing: \
                Relay should have emitted it for words[0]@0 key \"a\"";
    assert_eq!(violation_of(&findings, "outputs once").what, what);
}

#[test]
fn what_the_model_cannot_know_is_not_judged() {
    let mut script = relayed();
    let unloaded = JudgedProcessor::new(&DEFINITION, ExactlyOnce);
    script.feed(NAMES, "a", "Eve");
    let findings = script.judged(&unloaded);
    passes(&findings);
    let joined = "Relay: it joins `names`, whose contents at the time are not known";
    assert_eq!(findings.unjudged[0], joined);
    // A write without an effective handling is found without a model, too.
    script.put(Some(A), 0, LOOP, "b", "stale");
    script.handle((B, 3), LOOP, 2, &[]);
    script.commit(B, LOOP, 3);
    script.end(3, true);
    assert_eq!(broken_rules(&script.judged(&unloaded)), ["stale write"]);
}

#[test]
fn a_handler_that_fails_in_the_model_is_found() {
    let mut script = relayed();
    script.feed(WORDS, "a", "bad");
    script.handle((A, 3), WORDS, 2, &[]);
    script.commit(A, WORDS, 3);
    script.end(3, true);
    let findings = script.judged(&relay());
    assert_eq!(broken_rules(&findings), ["handler"]);
    assert!(
        violation_of(&findings, "handler")
            .what
            .ends_with("fails for it in the model: a bad word")
    );
}

#[test]
fn records_from_before_a_latest_input_are_not_judged() {
    let mut script = Script::new(RELAY);
    for word in ["old", "new", "newer"] {
        script.feed(WORDS, "a", word);
    }
    let late = JudgedProcessor::new(&LATE_DEFINITION, ExactlyOnce);
    passes(&script.judged(&late));
    script.handle((A, 1), WORDS, 1, &[]);
    let findings = script.judged(&late);
    assert_eq!(broken_rules(&findings), ["lost input"]);
    assert_eq!(findings.violations.len(), 2, "@1 and @2");
    script.handle((A, 1), WORDS, 2, &[]);
    script.commit(A, WORDS, 3);
    script.end(1, true);
    let findings = script.judged(&late);
    passes(&findings);
    assert_eq!(findings.unjudged.len(), 1);
}
