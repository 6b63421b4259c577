//! How a record gets into the log, or does not: for members and appenders alike. What an appender sends is
//! written, or has failed, when `send` returns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::{Fault, StepKind, Written};
use super::history::ClientId;
use super::state::{Shared, State, UnderWay};
use super::topics::{Body, Serial};
use crate::log::{Appender, Failure, LogError, OnDelivery, Sent};
use crate::record::TopicPartition;

/// A record on its way out of a client.
pub(super) struct Outgoing<'o> {
    pub(super) who: &'o str,
    /// `None` for an appender: it waits for nothing that is under way.
    pub(super) client: Option<ClientId>,
    pub(super) tp: &'o TopicPartition,
    pub(super) record: Sent<'o>,
    /// The transactional id and its epoch.
    pub(super) producer: Option<(&'o str, u64)>,
}

impl Outgoing<'_> {
    fn refused(&self, reason: String) -> Unwritten {
        let (topic, key) = (&self.tp.topic, self.record.key);
        Unwritten::Failed(Failure::refused(topic, key, reason))
    }
}

/// Why a record does not count as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// As the client hears it.
    Failed(Failure),
    /// The producer's epoch is not the current one.
    Fenced,
}

fn unknown(what: &str) -> Unwritten {
    Unwritten::Failed(Failure::Unknown(what.to_owned()))
}

impl State {
    pub(super) fn produce(&mut self, out: &Outgoing<'_>) -> Result<Written, Unwritten> {
        if let Some(reason) = self.refusal(out) {
            return Err(out.refused(reason));
        }
        let kind = match out.client {
            Some(_) => StepKind::Append,
            None => StepKind::Send,
        };
        let fault = self.inject(kind, out.who, out.client, Some(out.tp));
        let serial = match out.producer {
            None => 0,
            Some((id, epoch)) => self
                .touch(id, epoch, out.tp)
                .map_err(|_| Unwritten::Fenced)?,
        };
        match fault {
            Some(Fault::Refused) => return Err(out.refused("a fault refuses it".to_owned())),
            Some(Fault::NotWritten) => return Err(unknown("not acknowledged: not written")),
            _ => {}
        }
        let body = Arc::new(Body::of(&out.record.stamped(self.wall)));
        if let Some((at, is_sent)) = self.delay(out, fault) {
            return self.send_late(out, body, serial, at, is_sent);
        }
        let Some(offset) = self.write(out.client, serial, out.tp, body) else {
            return Err(unknown("the topic is gone"));
        };
        match fault {
            Some(Fault::AckLost) => Err(unknown("not acknowledged: the answer was lost")),
            _ => Ok(Written::At(offset)),
        }
    }

    fn refusal(&self, out: &Outgoing<'_>) -> Option<String> {
        match self.topics.get(&out.tp.topic) {
            Some(topic) => topic.refusal(&out.record),
            None => Some("the topic does not exist".to_owned()),
        }
    }

    /// When a record arrives, if not now, and whether the client has it no more. One client's records
    /// stay in order in each partition: what follows a late one is late, too.
    fn delay(&self, out: &Outgoing<'_>, fault: Option<Fault>) -> Option<(Duration, bool)> {
        let mut before = self.under_way.iter().rev();
        let is_same = |it: &&UnderWay| Some(it.client) == out.client && it.tp == *out.tp;
        if let Some(before) = before.find(is_same) {
            return Some((before.at, before.is_sent));
        }
        if let Some(until) = self.away_until(out.tp) {
            return Some((until, false));
        }
        match fault {
            Some(Fault::Late(time)) => Some((self.now + time, true)),
            _ => None,
        }
    }

    fn send_late(
        &mut self,
        out: &Outgoing<'_>,
        body: Arc<Body>,
        serial: Serial,
        at: Duration,
        is_sent: bool,
    ) -> Result<Written, Unwritten> {
        let Some(client) = out.client else {
            return Err(unknown("not acknowledged: no broker answers"));
        };
        let ticket = self.number();
        self.under_way.push(UnderWay {
            ticket: Some(ticket),
            at,
            client,
            tp: out.tp.clone(),
            body,
            transaction: out.producer.map(|(id, _)| (id.to_owned(), serial)),
            is_sent,
        });
        Ok(Written::UnderWay(ticket))
    }
}

pub(super) struct SimulatedAppender {
    shared: Arc<Shared>,
    delivered: OnDelivery,
}

impl SimulatedAppender {
    pub(super) fn new(shared: Arc<Shared>, delivered: OnDelivery) -> Self {
        Self { shared, delivered }
    }
}

impl Appender for SimulatedAppender {
    fn send(&self, record: Sent<'_>, token: u64, _deadline: Instant) -> Result<(), LogError> {
        let tp = TopicPartition::new(record.topic, record.partition);
        let written = {
            let mut state = self.shared.lock();
            state.partition(&tp)?;
            state.produce(&Outgoing {
                who: "appender",
                client: None,
                tp: &tp,
                record,
                producer: None,
            })
        };
        let outcome = match written {
            Ok(Written::At(offset)) => Ok((tp.partition, offset)),
            Ok(Written::UnderWay(_)) | Err(Unwritten::Fenced) => Err(Failure::Unknown(
                "not acknowledged: no broker answers".to_owned(),
            )),
            Err(Unwritten::Failed(failure)) => Err(failure),
        };
        (self.delivered)(token, outcome);
        Ok(())
    }

    fn flush(&self, _deadline: Instant) -> Result<(), LogError> {
        Ok(())
    }
}
