//! What happened to the place of a violation, a line each: where its input came from, who handled it
//! and wrote what, what made that count or not, and what went wrong in between.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::index::Index;
use super::text::{self, Values, record};
use super::{Evidence, Place, Violation, inputs_of};
use crate::log::simulated::{Happened, Wrote};
use crate::record::Offset;

/// So many lines a story has at most.
const MOST: usize = 40;
/// So many things that were done to the log stay of those in a row.
const FEW: usize = 2;

/// Records of inputs, as groups read them.
type Inputs<'s> = BTreeMap<(&'s str, &'s str, i32), BTreeSet<Offset>>;
/// Who wrote what where.
type Content<'s> = (u64, &'s str, i32, Option<&'s [u8]>, Option<&'s [u8]>);

/// What happened to the place of a violation, in order, a line each.
pub(in crate::simulation) fn trace(evidence: &Evidence<'_>, violation: &Violation) -> Vec<String> {
    let Some(place) = &violation.place else {
        return Vec::new();
    };
    let index = Index::of(evidence.history);
    let inputs = inputs(evidence, &index, place);
    let definitions = evidence.processors.iter();
    let definitions = definitions.map(|(definition, ..)| *definition);
    let mut plot = Plot {
        evidence,
        index: &index,
        place,
        inputs: &inputs,
        wrote: HashSet::new(),
        scenes: BTreeMap::new(),
        clients: BTreeSet::new(),
        serials: BTreeSet::new(),
        values: Values(definitions.collect()),
    };
    plot.find();
    plot.set();
    plot.tell()
}

/// The records that the place comes from: of its key, or handled with writes to it.
fn inputs<'s>(evidence: &Evidence<'s>, index: &Index<'s>, place: &Place) -> Inputs<'s> {
    let mut inputs = Inputs::new();
    for (definition, ..) in evidence.processors {
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
            let all = index.lying(topic, place.partition);
            let all = all.filter(|lies| is_its(lies.offset, lies.key()));
            let offsets: BTreeSet<Offset> = all.map(|lies| lies.offset).collect();
            inputs
                .entry((group, topic, place.partition))
                .or_default()
                .extend(offsets);
        }
    }
    for moment in evidence.history {
        if let Happened::Handled {
            group,
            topic,
            partition,
            offset,
            wrote,
            ..
        } = &moment.what
            && wrote.iter().any(|wrote| is_at(place, wrote))
        {
            let offsets = inputs.entry((group, topic, *partition)).or_default();
            offsets.insert(*offset);
        }
    }
    inputs
}

fn is_at(place: &Place, wrote: &Wrote) -> bool {
    *wrote.topic == *place.topic && wrote.partition == place.partition && wrote.key == place.key
}

struct Line {
    /// Whether it is about the very record.
    is_heart: bool,
    /// Whether it says what was done to the log or its members.
    is_told: bool,
    text: String,
}

struct Plot<'p, 's> {
    evidence: &'p Evidence<'s>,
    index: &'p Index<'s>,
    place: &'p Place,
    inputs: &'p Inputs<'s>,
    /// What the handlings of the inputs wrote.
    wrote: HashSet<Content<'s>>,
    /// What belongs to the story, by its place in the history, and whether it is its heart.
    scenes: BTreeMap<usize, bool>,
    clients: BTreeSet<u64>,
    serials: BTreeSet<u64>,
    values: Values<'p>,
}

impl<'s> Plot<'_, 's> {
    /// Finds what happened to the inputs and to the place.
    fn find(&mut self) {
        let mut positions: BTreeMap<(&str, &str, i32), Offset> = BTreeMap::new();
        for (at, moment) in self.evidence.history.iter().enumerate() {
            let (client, is_heart) = match &moment.what {
                Happened::Handled {
                    client,
                    group,
                    topic,
                    partition,
                    offset,
                    wrote,
                } => {
                    let read = (&**group, &**topic, *partition);
                    let offsets = self.inputs.get(&read);
                    if !offsets.is_some_and(|offsets| offsets.contains(offset)) {
                        continue;
                    }
                    self.wrote
                        .extend(wrote.iter().map(|wrote| content(*client, wrote)));
                    (Some(*client), self.is_focus(topic, *partition, *offset))
                }
                Happened::Written {
                    client,
                    serial,
                    topic,
                    partition,
                    offset,
                    ..
                } => {
                    if !self.is_written(topic, *partition, *offset) {
                        continue;
                    }
                    self.serials.extend((*serial > 0).then_some(*serial));
                    (*client, self.is_focus(topic, *partition, *offset))
                }
                Happened::Ended { serial, .. } if self.serials.contains(serial) => (None, false),
                Happened::Committed {
                    client,
                    group,
                    topic,
                    partition,
                    offset,
                } => {
                    let read = (&**group, &**topic, *partition);
                    let before = positions.insert(read, *offset).unwrap_or_default();
                    let Some(offsets) = self.inputs.get(&read) else {
                        continue;
                    };
                    let moved = before.min(*offset)..before.max(*offset);
                    if offsets.range(moved.clone()).next().is_none() {
                        continue;
                    }
                    let mut over = moved;
                    let is_focus = over.any(|offset| self.is_focus(topic, *partition, offset));
                    (Some(*client), is_focus)
                }
                _ => continue,
            };
            self.clients.extend(client);
            self.scenes.insert(at, is_heart);
        }
    }

    fn is_focus(&self, topic: &str, partition: i32, offset: Offset) -> bool {
        let place = self.place;
        *place.topic == *topic && place.partition == partition && place.offset == Some(offset)
    }

    /// Whether a record is an input of the story, lies at its place, or is what was written.
    fn is_written(&self, topic: &str, partition: i32, offset: Offset) -> bool {
        let Some(lies) = self.index.lies(topic, partition, offset) else {
            return false;
        };
        let is_here = *self.place.topic == *topic
            && self.place.partition == partition
            && (self.place.offset == Some(offset)
                || (self.place.key.is_some() && lies.key() == self.place.key.as_deref()));
        let is_input = |((_, of, number), offsets): (&(&str, &str, i32), &BTreeSet<Offset>)| {
            *of == topic && *number == partition && offsets.contains(&offset)
        };
        let is_wrote = |client| {
            let content = (client, lies.topic, partition, lies.key(), lies.value());
            self.wrote.contains(&content)
        };
        is_here || self.inputs.iter().any(is_input) || lies.client.is_some_and(is_wrote)
    }

    /// Adds who is who, and what went wrong in between.
    fn set(&mut self) {
        let first = self.scenes.keys().next().copied().unwrap_or_default();
        let mut added = Vec::new();
        for (at, moment) in self.evidence.history.iter().enumerate() {
            let belongs = match &moment.what {
                Happened::Joined { client, .. } => self.clients.contains(client),
                Happened::Told(what) => at >= first && self.concerns(what),
                _ => false,
            };
            added.extend(belongs.then_some((at, false)));
        }
        self.scenes.extend(added);
    }

    /// Whether what was told is about anybody of the story, or about nobody in particular.
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

    fn tell(&self) -> Vec<String> {
        let history = self.evidence.history;
        let times = self.scenes.keys().filter_map(|at| history.get(*at));
        let times: Vec<String> = times.map(|moment| millis(moment.at)).collect();
        let width = times.iter().map(String::len).max().unwrap_or_default();
        let mut lines = Vec::with_capacity(times.len());
        let mut positions = BTreeMap::new();
        for ((at, is_heart), time) in self.scenes.iter().zip(times) {
            let line = self.line(*at, &mut positions);
            let moment = history.get(*at);
            lines.push(Line {
                is_heart: *is_heart,
                is_told: moment.is_some_and(|moment| matches!(moment.what, Happened::Told(_))),
                text: format!("{time:>width$} ms  {line}"),
            });
        }
        elide(&lines)
    }

    fn line(&self, at: usize, positions: &mut BTreeMap<(&'s str, &'s str, i32), Offset>) -> String {
        let Some(moment) = self.evidence.history.get(at) else {
            return String::new();
        };
        match &moment.what {
            Happened::Joined { client, .. } => format!("{} joined", self.index.name(*client)),
            Happened::Handled {
                client,
                topic,
                partition,
                offset,
                wrote,
                ..
            } => self.handled(*client, (topic, *partition, *offset), wrote),
            Happened::Written {
                client,
                serial,
                topic,
                partition,
                offset,
                ..
            } => self.written(*client, *serial, (topic, *partition, *offset)),
            Happened::Ended { serial, committed } => {
                let how = if *committed { "committed" } else { "aborted" };
                format!("transaction {serial} was {how}")
            }
            Happened::Committed {
                client,
                group,
                topic,
                partition,
                offset,
            } => {
                let who = self.index.name(*client);
                let before = positions.insert((group, topic, *partition), *offset);
                match before.filter(|before| before > offset) {
                    None => format!("{who} committed {topic}[{partition}] up to {offset}"),
                    Some(before) => format!(
                        "{who} set {topic}[{partition}] of group `{group}` back from {before} to \
                         {offset}"
                    ),
                }
            }
            Happened::Told(what) => what.clone(),
        }
    }

    fn handled(&self, client: u64, of: (&str, i32, Offset), wrote: &[Wrote]) -> String {
        let (topic, partition, offset) = of;
        let who = self.index.name(client);
        let lies = self.index.lies(topic, partition, offset);
        let own = lies.and_then(|lies| lies.key());
        let what = match lies {
            Some(lies) => record(lies),
            None => format!("{topic}[{partition}]@{offset}"),
        };
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

    fn written(&self, client: Option<u64>, serial: u64, of: (&str, i32, Offset)) -> String {
        let (topic, partition, offset) = of;
        let Some(lies) = self.index.lies(topic, partition, offset) else {
            return String::new();
        };
        let what = format!(
            "{} = {}",
            record(lies),
            self.values.show(topic, lies.value())
        );
        match (client, serial) {
            (None, _) => format!("{what} was fed"),
            (Some(client), 0) => format!("{what} was written by {}", self.index.name(client)),
            (Some(client), serial) => format!(
                "{what} was written by {} in transaction {serial}",
                self.index.name(client)
            ),
        }
    }
}

fn content(client: u64, wrote: &Wrote) -> Content<'_> {
    let (key, value) = (wrote.key.as_deref(), wrote.value.as_deref());
    (client, &wrote.topic, wrote.partition, key, value)
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

/// Leaves out what is dull, if there is too much: what is near the heart stays, what came before it
/// rather than what came after; without a heart what is near the end.
fn elide(lines: &[Line]) -> Vec<String> {
    let hearts = (0..lines.len()).filter(|at| lines[*at].is_heart);
    let mut anchors: Vec<usize> = hearts.collect();
    if anchors.is_empty() {
        anchors.push(lines.len());
    }
    let distance = |at: usize| {
        let distances = anchors.iter().map(|anchor| match at.checked_sub(*anchor) {
            Some(after) => 2 * after,
            None => anchor - at,
        });
        let nearest = distances.min().unwrap_or_default();
        // Of equal ones the later ones.
        (is_dull(lines, at), nearest, lines.len() - at)
    };
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|at| distance(*at));
    let shortened = (0..=MOST).rev().map(|count| {
        let stays: HashSet<usize> = order.iter().take(count).copied().collect();
        shorten(lines, &stays)
    });
    let mut fitting = shortened.skip_while(|told| told.len() > MOST);
    fitting.next().unwrap_or_default()
}

/// Whether a line is one of many in a row that say what was done to the log, and not the last.
fn is_dull(lines: &[Line], at: usize) -> bool {
    let behind = lines.get(at..=at + FEW);
    behind.is_some_and(|all| all.iter().all(|line| line.is_told))
}

fn shorten(lines: &[Line], stays: &HashSet<usize>) -> Vec<String> {
    let mut told = Vec::new();
    let mut more = 0;
    for (at, line) in lines.iter().enumerate() {
        if !stays.contains(&at) {
            more += 1;
            continue;
        }
        if more > 0 {
            told.push(format!(".. {more} more"));
            more = 0;
        }
        told.push(line.text.clone());
    }
    if more > 0 {
        told.push(format!(".. {more} more"));
    }
    told
}
