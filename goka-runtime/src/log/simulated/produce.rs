//! How a record gets into the log, or does not: for members and appenders alike.

use std::sync::Arc;
use std::time::Duration;

use super::faults::{Fault, StepKind, Written};
use super::history::ClientId;
use super::state::{State, UnderWay};
use super::topics::{Body, Serial};
use crate::log::Failure;

/// A record on its way out of a client.
pub(super) struct Outgoing<'o> {
    pub(super) who: &'o str,
    /// `None` for an appender: it waits for nothing that is under way.
    pub(super) client: Option<ClientId>,
    pub(super) topic: &'o Arc<str>,
    pub(super) partition: i32,
    pub(super) body: Arc<Body>,
    /// The transactional id and its epoch.
    pub(super) producer: Option<(&'o str, u64)>,
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
            return Err(refused(out, reason));
        }
        let kind = match out.client {
            Some(_) => StepKind::Append,
            None => StepKind::Send,
        };
        let place = Some((out.topic, out.partition));
        let fault = self.inject(kind, out.who, out.client, place);
        let serial = match out.producer {
            None => 0,
            Some((id, epoch)) => {
                let number = self.topics.get(out.topic).map_or(0, |topic| topic.number);
                let touched = (out.topic.clone(), number, out.partition);
                self.touch(id, epoch, touched)
                    .map_err(|_| Unwritten::Fenced)?
            }
        };
        match fault {
            Some(Fault::Refused) => {
                let reason = "a fault refuses it".to_owned();
                return Err(refused(out, reason));
            }
            Some(Fault::NotWritten) => return Err(unknown("not acknowledged: not written")),
            _ => {}
        }
        if let Some((at, is_sent)) = self.delay(out, fault) {
            return self.send_late(out, serial, at, is_sent);
        }
        let place = (out.topic, out.partition);
        let Some(offset) = self.write(out.client, serial, place, out.body.clone()) else {
            return Err(unknown("the topic is gone"));
        };
        match fault {
            Some(Fault::AckLost) => Err(unknown("not acknowledged: the answer was lost")),
            _ => Ok(Written::At(offset)),
        }
    }

    /// Why a record is refused for good.
    fn refusal(&self, out: &Outgoing<'_>) -> Option<String> {
        match self.topics.get(out.topic) {
            Some(topic) => topic.refusal(out.partition, &out.body),
            None => Some("the topic does not exist".to_owned()),
        }
    }

    /// When a record arrives, if not now, and whether the client has it no more. One client's records
    /// stay in order in each partition: what follows a late one is late, too.
    fn delay(&self, out: &Outgoing<'_>, fault: Option<Fault>) -> Option<(Duration, bool)> {
        let before = self.under_way.iter().rev().find(|before| {
            Some(before.client) == out.client
                && before.topic == *out.topic
                && before.partition == out.partition
        });
        if let Some(before) = before {
            return Some((before.at, before.is_sent));
        }
        if let Some(until) = self.away_until(out.topic, out.partition) {
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
            topic: out.topic.clone(),
            partition: out.partition,
            body: out.body.clone(),
            transaction: out.producer.map(|(id, _)| (id.to_owned(), serial)),
            is_sent,
        });
        Ok(Written::UnderWay(ticket))
    }
}

fn refused(out: &Outgoing<'_>, reason: String) -> Unwritten {
    let key = out.body.key.as_deref();
    Unwritten::Failed(Failure::Refused {
        topic: out.topic.to_string(),
        key: key.map_or("(none)".into(), |key| {
            String::from_utf8_lossy(key).into_owned()
        }),
        reason,
    })
}
