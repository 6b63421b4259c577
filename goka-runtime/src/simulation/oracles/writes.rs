//! What handlers wrote, against what lies in the log: `durable writes`, `stale write`.

use std::collections::{HashMap, VecDeque};

use super::index::{Index, Lies};
use super::inputs::Effective;
use super::model::Modelled;
use super::text::{self, Values, record};
use super::{Case, Place, Violation};
use crate::graph::EdgeKind;
use crate::log::simulated::Wrote;

/// Who wrote what where, in which transaction.
type Content<'e> = (u64, u64, &'e str, i32, Option<&'e [u8]>, Option<&'e [u8]>);

/// What members wrote and everybody sees, until a handling claims it.
struct Pool<'p, 'e>(HashMap<Content<'e>, VecDeque<&'p Lies<'e>>>);

impl<'p, 'e> Pool<'p, 'e> {
    fn of(index: &'p Index<'e>) -> Self {
        let mut pool: HashMap<Content<'e>, VecDeque<&'p Lies<'e>>> = HashMap::new();
        for topic in index.topics() {
            for lies in index
                .partitions(topic)
                .flat_map(|number| index.seen(topic, number))
            {
                if let Some(client) = lies.client {
                    let content = (
                        client,
                        lies.serial,
                        lies.topic,
                        lies.partition,
                        lies.key(),
                        lies.value(),
                    );
                    pool.entry(content).or_default().push_back(lies);
                }
            }
        }
        Self(pool)
    }

    /// Claims what a handling wrote; says whether it lies there in time.
    fn claim(&mut self, of: &Effective<'e>, wrote: &'e Wrote, is_exact: bool) -> bool {
        let serial = match is_exact {
            true => of.commit.serial.unwrap_or(u64::MAX),
            false => 0,
        };
        let (key, value) = (wrote.key.as_deref(), wrote.value.as_deref());
        let content = (
            of.client,
            serial,
            &*wrote.topic,
            wrote.partition,
            key,
            value,
        );
        let Some(lying) = self.0.get_mut(&content) else {
            return false;
        };
        // Handlings come in their order: what was written before one is of another.
        while lying.front().is_some_and(|lies| lies.at < of.at) {
            lying.pop_front();
        }
        let in_time = lying.front().is_some_and(|lies| lies.at < of.commit.at);
        if in_time {
            lying.pop_front();
        }
        in_time
    }
}

pub(super) fn judge(
    index: &Index<'_>,
    cases: &[Case<'_>],
    modelled: &[Option<Modelled>],
    found: &mut Vec<Violation>,
) {
    let mut pool = Pool::of(index);
    let values = Values(cases.iter().map(|case| case.definition).collect());
    for case in cases {
        for effective in &case.effective {
            for wrote in effective.wrote {
                if !pool.claim(effective, wrote, case.is_exact()) {
                    found.push(lost(index, case, effective, wrote, &values));
                }
            }
        }
    }
    let mut stale: Vec<&Lies<'_>> = pool.0.into_values().flatten().collect();
    stale.retain(|lies| is_judged(index, cases, modelled, lies));
    stale.sort_by_key(|lies| lies.at);
    found.extend(stale.into_iter().map(|lies| {
        let who = lies
            .client
            .map_or_else(String::new, |client| index.name(client));
        let value = values.show(lies.topic, lies.value());
        let what = format!(
            "{} = {value} is seen, though nothing that {who} handled and that counts wrote it",
            record(lies)
        );
        Violation::at("stale write", Place::of_record(lies), what)
    }));
}

/// Exactly once: tables, and the outputs that no model tells.
fn is_judged(
    index: &Index<'_>,
    cases: &[Case<'_>],
    modelled: &[Option<Modelled>],
    lies: &Lies<'_>,
) -> bool {
    let group = lies.client.and_then(|client| index.group_of(client));
    let of = cases.iter().zip(modelled);
    let mut of = of.filter(|(case, _)| Some(case.group()) == group);
    of.any(|(case, modelled)| {
        let table = case.definition.graph.table();
        let is_table = table.is_some_and(|table| table.topic.name == lies.topic);
        case.is_exact() && !case.visited && (is_table || modelled.is_none())
    })
}

fn lost(
    index: &Index<'_>,
    case: &Case<'_>,
    of: &Effective<'_>,
    wrote: &Wrote,
    values: &Values<'_>,
) -> Violation {
    let kind = match of.edge.kind {
        EdgeKind::Loopback { .. } => "loop record",
        _ => "record",
    };
    let by_when = match (case.is_exact(), of.commit.serial) {
        (false, _) => "did not lie in the log when it was committed past".to_owned(),
        (true, Some(serial)) => format!("is not in transaction {serial}, which committed past it"),
        (true, None) => "is in no transaction that committed past it".to_owned(),
    };
    let (topic, partition) = (&wrote.topic, wrote.partition);
    let what = format!(
        "what {} wrote for {kind} {} {by_when}: {topic}[{partition}] {} = {}",
        index.name(of.client),
        record(&of.record),
        text::key(wrote.key.as_deref()),
        values.show(topic, wrote.value.as_deref()),
    );
    Violation::at("durable writes", Place::of_record(&of.record), what)
}
