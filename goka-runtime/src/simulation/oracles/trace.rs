//! The trace of a violation, a line for each event: the input records, the handlings and what they
//! wrote, commits and transactions, and the faults in between.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::index::{Index, LogRecord};
use super::text::{self, Values, describe};
use super::{FinishedRun, Place, Violation, inputs_of};
use crate::log::simulated::{Content, Happened, MemberOffset, RecordPlace, Wrote};
use crate::record::Offset;

/// The most lines of a trace.
const MOST: usize = 40;
/// How many of several faults in a row are kept before others are left out.
const FEW: usize = 2;

/// Records of inputs, as groups read them.
type Inputs<'s> = BTreeMap<(&'s str, &'s str, i32), BTreeSet<Offset>>;

/// What happened to the record, row or partition of a violation, in order, a line each.
pub(in crate::simulation) fn trace(run: &FinishedRun<'_>, violation: &Violation) -> Vec<String> {
    let Some(place) = &violation.place else {
        return Vec::new();
    };
    let index = Index::of(run.history);
    let inputs = inputs(run, &index, place);
    let definitions = run.processors.iter();
    let definitions = definitions.map(|(definition, ..)| *definition);
    let mut builder = TraceBuilder {
        run,
        index: &index,
        place,
        inputs: &inputs,
        wrote: HashSet::new(),
        moments: BTreeMap::new(),
        clients: BTreeSet::new(),
        serials: BTreeSet::new(),
        values: Values(definitions.collect()),
    };
    builder.collect_moments();
    builder.add_context();
    builder.lines()
}

/// The input records of a place: those with its key, and those whose handlings wrote to it.
fn inputs<'s>(run: &FinishedRun<'s>, index: &Index<'s>, place: &Place) -> Inputs<'s> {
    let mut inputs = Inputs::new();
    for (definition, ..) in run.processors {
        let group = definition.graph.group;
        let table = definition.graph.table().map(|table| table.topic.name);
        for edge in inputs_of(definition) {
            let topic = edge.topic.name;
            let is_here = topic == place.topic;
            if !is_here && table != Some(place.topic.as_str()) {
                continue;
            }
            let is_its = |offset: Offset, key: Option<&[u8]>| {
                let is_its_key = place.key.is_some() && key == place.key.as_deref();
                is_its_key || (is_here && place.offset == Some(offset))
            };
            let all = index.records(topic, place.partition);
            let all = all.filter(|record| is_its(record.place.offset, record.key()));
            let input = inputs.entry((group, topic, place.partition)).or_default();
            input.extend(all.map(|record| record.place.offset));
        }
    }
    for moment in run.history {
        if let Happened::Handled(of, wrote) = &moment.what
            && wrote.iter().any(|wrote| is_at(place, wrote))
        {
            let offsets = inputs.entry(of.input()).or_default();
            offsets.insert(of.place.offset);
        }
    }
    inputs
}

fn is_at(place: &Place, wrote: &Wrote) -> bool {
    *wrote.topic == *place.topic && wrote.partition == place.partition && wrote.key == place.key
}

struct Line {
    /// Whether it is about the record of the violation itself.
    is_focus: bool,
    /// Whether it is a fault or another event of the schedule.
    is_event: bool,
    text: String,
}

struct TraceBuilder<'p, 's> {
    run: &'p FinishedRun<'s>,
    index: &'p Index<'s>,
    place: &'p Place,
    inputs: &'p Inputs<'s>,
    /// What the handlings of the inputs wrote, with their clients.
    wrote: HashSet<(u64, Content<'s>)>,
    /// The moments of the trace, by their position in the history, and whether each is about the record
    /// of the violation itself.
    moments: BTreeMap<usize, bool>,
    clients: BTreeSet<u64>,
    serials: BTreeSet<u64>,
    values: Values<'p>,
}

impl<'s> TraceBuilder<'_, 's> {
    /// Collects what happened to the inputs and to the place.
    fn collect_moments(&mut self) {
        let mut positions: BTreeMap<(&str, &str, i32), Offset> = BTreeMap::new();
        for (at, moment) in self.run.history.iter().enumerate() {
            let (client, is_focus) = match &moment.what {
                Happened::Handled(of, wrote) => {
                    let offsets = self.inputs.get(&of.input());
                    if !offsets.is_some_and(|offsets| offsets.contains(&of.place.offset)) {
                        continue;
                    }
                    let wrote = wrote.iter().map(|wrote| (of.client, wrote.content()));
                    self.wrote.extend(wrote);
                    (Some(of.client), self.is_focus(&of.place))
                }
                Happened::Written(written) => {
                    if !self.is_written(&LogRecord { at, written }) {
                        continue;
                    }
                    let serial = written.serial;
                    self.serials.extend((serial > 0).then_some(serial));
                    (written.client, self.is_focus(&written.place))
                }
                Happened::Ended { serial, .. } if self.serials.contains(serial) => (None, false),
                Happened::Committed(of) => {
                    let to = of.place.offset;
                    let from = positions.insert(of.input(), to).unwrap_or_default();
                    let Some(offsets) = self.inputs.get(&of.input()) else {
                        continue;
                    };
                    let moved = from.min(to)..from.max(to);
                    if offsets.range(moved.clone()).next().is_none() {
                        continue;
                    }
                    let is_focus = self.is_in_focus(&of.place, |offset| moved.contains(&offset));
                    (Some(of.client), is_focus)
                }
                _ => continue,
            };
            self.clients.extend(client);
            self.moments.insert(at, is_focus);
        }
    }

    /// Whether the violation is about a record of a partition, at an offset that `is_its`.
    fn is_in_focus(&self, of: &RecordPlace, is_its: impl Fn(Offset) -> bool) -> bool {
        let place = self.place;
        *place.topic == *of.topic
            && place.partition == of.partition
            && place.offset.is_some_and(is_its)
    }

    fn is_focus(&self, of: &RecordPlace) -> bool {
        self.is_in_focus(of, |offset| offset == of.offset)
    }

    /// Whether a record is one of the inputs, is at the place, or was written by one of the handlings.
    fn is_written(&self, record: &LogRecord<'_>) -> bool {
        let (of, place) = (&record.place, self.place);
        let is_its_key = place.key.is_some() && record.key() == place.key.as_deref();
        let is_here = self.is_in_focus(of, |offset| offset == of.offset)
            || (is_its_key && *place.topic == *of.topic && place.partition == of.partition);
        let is_input = |((_, topic, number), offsets): (&(&str, &str, i32), &BTreeSet<Offset>)| {
            **topic == *of.topic && *number == of.partition && offsets.contains(&of.offset)
        };
        let is_wrote = |client| self.wrote.contains(&(client, record.content()));
        is_here || self.inputs.iter().any(is_input) || record.client.is_some_and(is_wrote)
    }

    /// Adds who joined, and the faults in between.
    fn add_context(&mut self) {
        let first = self.moments.keys().next().copied().unwrap_or_default();
        let mut added = Vec::new();
        for (at, moment) in self.run.history.iter().enumerate() {
            let belongs = match &moment.what {
                Happened::Joined { client, .. } => self.clients.contains(client),
                Happened::Event(what) => at >= first && self.concerns(what),
                _ => false,
            };
            added.extend(belongs.then_some((at, false)));
        }
        self.moments.extend(added);
    }

    /// Whether an event is about a client or topic of the trace, or about none in particular.
    fn concerns(&self, what: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || "-_.#".contains(c);
        let words: HashSet<&str> = what.split(|c| !is_part(c)).collect();
        let mut others = false;
        for (client, who) in self.index.clients() {
            let instance = who.split('/').nth(1).unwrap_or(who);
            if words.contains(instance) || words.contains(format!("#{client}").as_str()) {
                if self.clients.contains(&client) {
                    return true;
                }
                others = true;
            }
        }
        for topic in self.index.topics().filter(|topic| words.contains(topic)) {
            let mut inputs = self.inputs.keys();
            if self.place.topic == topic || inputs.any(|(_, of, _)| *of == topic) {
                return true;
            }
            others = true;
        }
        !others
    }

    fn lines(&self) -> Vec<String> {
        let history = self.run.history;
        let times = self.moments.keys().filter_map(|at| history.get(*at));
        let times: Vec<String> = times.map(|moment| millis(moment.at)).collect();
        let width = times.iter().map(String::len).max().unwrap_or_default();
        let mut lines = Vec::with_capacity(times.len());
        let mut positions = BTreeMap::new();
        for ((at, is_focus), time) in self.moments.iter().zip(times) {
            let line = self.line(*at, &mut positions);
            let moment = history.get(*at);
            lines.push(Line {
                is_focus: *is_focus,
                is_event: moment.is_some_and(|moment| matches!(moment.what, Happened::Event(_))),
                text: format!("{time:>width$} ms  {line}"),
            });
        }
        elide(&lines)
    }

    fn line(&self, at: usize, positions: &mut BTreeMap<(&'s str, &'s str, i32), Offset>) -> String {
        let Some(moment) = self.run.history.get(at) else {
            return String::new();
        };
        match &moment.what {
            Happened::Joined { client, .. } => {
                format!("{} joined", self.index.display_name(*client))
            }
            Happened::Handled(of, wrote) => self.handled(of, wrote),
            Happened::Written(written) => self.written(&LogRecord { at, written }),
            Happened::Ended { serial, committed } => {
                let how = if *committed { "committed" } else { "aborted" };
                format!("transaction {serial} was {how}")
            }
            Happened::Committed(of) => {
                let who = self.index.display_name(of.client);
                let RecordPlace {
                    topic,
                    partition,
                    offset,
                } = &of.place;
                let before = positions.insert(of.input(), *offset);
                match before.filter(|before| before > offset) {
                    None => format!("{who} committed {topic}[{partition}] up to {offset}"),
                    Some(before) => format!(
                        "{who} set {topic}[{partition}] of group `{}` back from {before} to \
                         {offset}",
                        of.group
                    ),
                }
            }
            Happened::Event(what) => what.clone(),
        }
    }

    fn handled(&self, of: &MemberOffset, wrote: &[Wrote]) -> String {
        let place = &of.place;
        let who = self.index.display_name(of.client);
        let record = self
            .index
            .record(&place.topic, place.partition, place.offset);
        let own = record.and_then(|record| record.key());
        let what = record.map_or_else(|| place.to_string(), describe);
        let wrote = wrote.iter().map(|wrote| {
            let key = match wrote.key.as_deref() {
                key if key == own => String::new(),
                key => format!("{} = ", text::key(key)),
            };
            let value = self.values.show(&wrote.topic, wrote.value.as_deref());
            format!("{}[{}] {key}{value}", wrote.topic, wrote.partition)
        });
        let wrote: Vec<String> = wrote.collect();
        match wrote.is_empty() {
            true => format!("{who} handled {what}: wrote nothing"),
            false => format!("{who} handled {what}: wrote {}", wrote.join(", ")),
        }
    }

    fn written(&self, record: &LogRecord<'_>) -> String {
        let value = self.values.show(record.topic(), record.value());
        let by = match record.client {
            None => "the workload".to_owned(),
            Some(client) => self.index.display_name(client),
        };
        let what = format!("{} = {value} was written by {by}", describe(record));
        match record.serial {
            0 => what,
            serial => format!("{what} in transaction {serial}"),
        }
    }
}

/// `12,340`.
fn millis(time: Duration) -> String {
    let digits = time.as_millis().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Leaves lines out if there are too many. Lines near one that is about the record itself stay, earlier
/// ones rather than later ones; without such a line those near the end stay.
fn elide(lines: &[Line]) -> Vec<String> {
    let focus = (0..lines.len()).filter(|at| lines[*at].is_focus);
    let mut anchors: Vec<usize> = focus.collect();
    if anchors.is_empty() {
        anchors.push(lines.len());
    }
    let distance = |at: usize| {
        let distances = anchors.iter().map(|anchor| match at.checked_sub(*anchor) {
            Some(after) => 2 * after,
            None => anchor - at,
        });
        let nearest = distances.min().unwrap_or_default();
        // Of equal distances the later line.
        (is_repetitive(lines, at), nearest, lines.len() - at)
    };
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|at| distance(*at));
    let shortened = (0..=MOST).rev().map(|count| {
        let stays: HashSet<usize> = order.iter().take(count).copied().collect();
        shorten(lines, &stays)
    });
    let mut fitting = shortened.skip_while(|kept| kept.len() > MOST);
    fitting.next().unwrap_or_default()
}

/// Whether a line is one of many events of the schedule in a row, and not among the last of them.
fn is_repetitive(lines: &[Line], at: usize) -> bool {
    let behind = lines.get(at..=at + FEW);
    behind.is_some_and(|all| all.iter().all(|line| line.is_event))
}

fn shorten(lines: &[Line], stays: &HashSet<usize>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut more = 0;
    for at in 0..=lines.len() {
        let line = lines.get(at);
        if line.is_some() && !stays.contains(&at) {
            more += 1;
            continue;
        }
        kept.extend((more > 0).then(|| format!(".. {more} more")));
        kept.extend(line.map(|line| line.text.clone()));
        more = 0;
    }
    kept
}
