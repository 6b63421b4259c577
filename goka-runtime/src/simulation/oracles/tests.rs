//! Each rule on histories that are written by hand: a correct one passes, and one that breaks a rule is
//! found.

mod models;
mod rules;
mod traces;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Findings, FinishedRun, Violation, judge, trace};
use crate::clock::Clock;
use crate::dispatch::ProcessorState;
use crate::edges::Processor;
use crate::graph::Definition;
use crate::log::simulated::{
    Body, Happened, MemberOffset, Moment, RecordPlace, Simulated, WrittenRecord, Wrote,
};
use crate::log::{Log, NewTopic};
use crate::record::{Guarantee, Headers, Offset, Record};
use crate::tester::doc::ClickCount;

const CLICKS: &str = "clicks";
const STATE: &str = "click-count-state";
const ALERTS: &str = "alerts";
const GROUP: &str = "click-count";

/// Two clients of one group.
const A: u64 = 7;
const B: u64 = 8;

/// A history that is written by hand; everything is in partition 0.
struct Script {
    history: Vec<Moment>,
    ends: BTreeMap<String, Offset>,
    group: &'static str,
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| text.as_bytes().to_vec())
}

/// What a handler wrote; an empty value is a deletion.
fn wrote(topic: &str, key: &str, value: &str) -> Wrote {
    Wrote {
        topic: topic.into(),
        partition: 0,
        key: bytes(key),
        value: bytes(value),
    }
}

fn place(topic: &str, offset: Offset) -> RecordPlace {
    RecordPlace {
        topic: topic.into(),
        partition: 0,
        offset,
    }
}

impl Script {
    fn new(group: &'static str) -> Self {
        let mut script = Self {
            history: Vec::new(),
            ends: BTreeMap::new(),
            group,
        };
        for (client, instance) in [(A, "i1"), (B, "i2")] {
            let who = format!("{group}/{instance}/0");
            script.add(Happened::Joined { client, who });
        }
        script
    }

    fn add(&mut self, what: Happened) {
        let at = Duration::from_millis(1_000 + 10 * self.history.len() as u64);
        self.history.push(Moment { at, what });
    }

    fn of(&self, client: u64, topic: &str, offset: Offset) -> MemberOffset {
        MemberOffset {
            client,
            group: self.group.into(),
            place: place(topic, offset),
        }
    }

    fn event(&mut self, what: &str) {
        self.add(Happened::Event(what.to_owned()));
    }

    fn put(&mut self, client: Option<u64>, serial: u64, topic: &str, key: &str, value: &str) {
        let end = self.ends.entry(topic.to_owned()).or_default();
        let offset = *end;
        *end += 1;
        let body = Body {
            key: bytes(key),
            value: bytes(value),
            ..Body::default()
        };
        self.add(Happened::Written(WrittenRecord {
            client,
            serial,
            place: place(topic, offset),
            body: Arc::new(body),
        }));
    }

    fn feed(&mut self, topic: &str, key: &str, value: &str) {
        self.put(None, 0, topic, key, value);
    }

    /// Adds a handling whose writes did not get into the log.
    fn handled(&mut self, client: u64, topic: &str, offset: Offset, wrote: &[Wrote]) {
        let of = self.of(client, topic, offset);
        self.add(Happened::Handled(of, wrote.to_vec()));
    }

    /// Adds a handling whose writes are in the log.
    fn handle(&mut self, by: (u64, u64), topic: &str, offset: Offset, wrote: &[Wrote]) {
        let (client, serial) = by;
        self.handled(client, topic, offset, wrote);
        for wrote in wrote {
            let text = |bytes: &Option<Vec<u8>>| {
                String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
            };
            let (key, value) = (text(&wrote.key), text(&wrote.value));
            self.put(Some(client), serial, &wrote.topic, &key, &value);
        }
    }

    fn commit(&mut self, client: u64, topic: &str, offset: Offset) {
        let of = self.of(client, topic, offset);
        self.add(Happened::Committed(of));
    }

    fn end(&mut self, serial: u64, committed: bool) {
        self.add(Happened::Ended { serial, committed });
    }

    fn committed(&self, serial: u64) -> bool {
        let is_its = |moment: &Moment| matches!(&moment.what, Happened::Ended { serial: of, committed: true } if *of == serial);
        serial == 0 || self.history.iter().any(is_its)
    }

    /// The log at the end of the history. Records that are not visible have no key in it.
    fn log(&self) -> Simulated {
        let log = Simulated::new(Clock::simulated(0));
        for (topic, compact) in [
            (CLICKS, false),
            (STATE, true),
            (ALERTS, false),
            (models::WORDS, true),
            (models::SEEN, true),
            (models::LOOP, false),
            (models::NAMES, true),
        ] {
            let new = NewTopic {
                name: topic.to_owned(),
                partitions: 1,
                compact,
                retention: None,
            };
            log.create(&new).expect("it is new");
        }
        for moment in &self.history {
            if let Happened::Written(written) = &moment.what {
                let is_seen = self.committed(written.serial);
                let body = &written.body;
                let record = Record {
                    offset: 0,
                    timestamp: body.timestamp,
                    key: body.key.as_deref().filter(|_| is_seen),
                    value: body.value.as_deref(),
                    headers: Headers::default(),
                };
                log.put(&written.place.topic, 0, &record)
                    .expect("it was made");
            }
        }
        log
    }

    fn judged(&self, processor: &JudgedProcessor) -> Findings {
        self.judged_on(processor, &self.log())
    }

    fn judged_on(&self, processor: &JudgedProcessor, log: &Simulated) -> Findings {
        judge(&processor.finished_run(log, &self.history))
    }

    /// The trace of a violation.
    fn trace(&self, processor: &JudgedProcessor, violation: &Violation) -> Vec<String> {
        trace(
            &processor.finished_run(&self.log(), &self.history),
            violation,
        )
    }
}

/// The processor that is checked.
struct JudgedProcessor {
    processors: Vec<(&'static Definition, Arc<ProcessorState>, Guarantee)>,
    idempotent: bool,
    loaded: Vec<&'static str>,
}

impl JudgedProcessor {
    fn new(definition: &'static Definition, guarantee: Guarantee) -> Self {
        Self {
            processors: vec![(definition, Arc::new(()), guarantee)],
            idempotent: false,
            loaded: Vec::new(),
        }
    }

    fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    fn loaded(self, table: &'static str) -> Self {
        Self {
            loaded: vec![table],
            ..self
        }
    }

    fn finished_run<'e>(&'e self, log: &'e Simulated, history: &'e [Moment]) -> FinishedRun<'e> {
        FinishedRun {
            log,
            history,
            processors: &self.processors,
            idempotent: self.idempotent,
            loaded: &self.loaded,
        }
    }
}

fn clicks(guarantee: Guarantee) -> JudgedProcessor {
    JudgedProcessor::new(ClickCount::DEFINITION, guarantee)
}

/// The rules that were broken, each once, in the order in which they are reported.
fn broken_rules(findings: &Findings) -> Vec<&'static str> {
    let mut rules: Vec<&str> = findings
        .violations
        .iter()
        .map(|found| found.oracle)
        .collect();
    rules.dedup();
    rules
}

/// The first violation of a rule.
fn violation_of<'v>(findings: &'v Findings, oracle: &str) -> &'v Violation {
    let mut found = findings
        .violations
        .iter()
        .filter(|found| found.oracle == oracle);
    found
        .next()
        .unwrap_or_else(|| panic!("no `{oracle}` in {findings:?}"))
}

fn passes(findings: &Findings) {
    assert!(findings.violations.is_empty(), "{findings:#?}");
}
