//! What errors of transactions mean on Kafka.

use super::super::transactions::client::{CallError, Ended};
use super::super::{Group, LogError, MemberTimeout};
use super::native::{Client, Code, Failed, Fault, Remedy};
use crate::shared_error::SharedError;

/// What ended a client for good, if anything.
pub(super) fn ended(client: &Client) -> Option<Ended> {
    let Fault { code, reason } = client.fatal()?;
    Some(match code {
        Code::FencedInstanceId => Ended::InstanceFenced(reason),
        code if is_fenced(code) => Ended::Fenced(reason),
        _ => Ended::Broken(reason),
    })
}

impl From<Failed> for CallError {
    fn from(failed: Failed) -> Self {
        let why = failed.fault.reason;
        match failed.remedy {
            Remedy::Again => CallError::Retriable(why),
            Remedy::Abort => CallError::Abortable(why),
            Remedy::None | Remedy::Unsaid => CallError::Fatal(why),
        }
    }
}

/// Why a transactional id cannot be taken over, and what to do.
pub(super) fn refused(id: &str, group: &Group, fault: Fault) -> LogError {
    let who = format!("transactional id `{id}`");
    let reason = fault.reason.clone();
    let advised = |what: String, advice: &str| LogError::Refused {
        what,
        reason: format!("{reason}; {advice}"),
        source: Some(SharedError::from(fault.clone())),
    };
    match fault.code {
        code if is_fenced(code) => LogError::ProducerFenced { who, reason },
        Code::InvalidTransactionTimeout => LogError::TimeoutRefused {
            timeout: MemberTimeout::Transaction,
            given: group.transaction_timeout,
            group: group.name.to_string(),
            reason: format!(
                "{reason}; set a shorter one, or raise the broker's `transaction.max.timeout.ms`"
            ),
        },
        Code::TransactionalIdAuthorizationFailed => advised(
            who,
            "allow WRITE and DESCRIBE on the transactional ids of the group (they begin with its \
                 name), or choose the guarantee at-least-once",
        ),
        Code::ClusterAuthorizationFailed => LogError::refused(who, fault),
        Code::UnsupportedFeature => too_old(&reason, Some(fault.into())),
        _ => LogError::client(who, fault),
    }
}

/// A broker does not speak what exactly once needs.
pub(super) fn too_old(reason: &str, source: Option<SharedError>) -> LogError {
    LogError::Refused {
        what: "the guarantee exactly-once".to_owned(),
        reason: format!(
            "{reason}; it needs Apache Kafka 2.5 or later, with transactions: choose \
             at-least-once, or another cluster"
        ),
        source,
    }
}

fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId
    )
}
