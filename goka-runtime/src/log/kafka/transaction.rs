//! What errors of transactions mean on Kafka.

use super::super::{Failure, Group, LogError, MemberTimeout};
use super::native::{Client, Code, Failed, Fault, Remedy};
use crate::shared_error::SharedError;

/// What ended a client for good, if anything.
pub(super) fn ended(client: &Client) -> Option<Failure> {
    let Fault { code, reason } = client.fatal()?;
    Some(match code {
        Code::FencedInstanceId => Failure::InstanceFenced(reason),
        code if is_fenced(code) => Failure::ProducerFenced(reason),
        _ => Failure::Fatal(reason),
    })
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        let why = failed.fault.reason;
        match failed.remedy {
            Remedy::Again => Failure::Retriable(why),
            Remedy::Abort => Failure::Abortable(why),
            Remedy::None => Failure::Fatal(why),
        }
    }
}

/// Why a transactional id cannot be taken over, and what to do.
pub(super) fn refused(id: &str, group: &Group, fault: Fault) -> LogError {
    let who = format!("transactional id `{id}`");
    let reason = fault.reason.clone();
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
        Code::TransactionalIdAuthorizationFailed => {
            let reason = format!(
                "{reason}; allow WRITE and DESCRIBE on the transactional ids of the group (they begin \
                 with its name), or choose the guarantee at-least-once"
            );
            LogError::refused_for(who, reason, Some(fault.into()))
        }
        Code::ClusterAuthorizationFailed => LogError::refused(who, fault),
        Code::UnsupportedFeature => too_old(&reason, Some(fault.into())),
        _ => LogError::client(who, fault),
    }
}

/// A broker does not speak what exactly once needs.
pub(super) fn too_old(reason: &str, source: Option<SharedError>) -> LogError {
    let reason = format!(
        "{reason}; it needs Apache Kafka 2.5 or later, with transactions: choose \
         at-least-once, or another cluster"
    );
    LogError::refused_for("the guarantee exactly-once", reason, source)
}

fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId
    )
}
