//! What the codes of brokers and of librdkafka mean, in general and to transactions. Only what is known as
//! final ends anything: a code that is not listed here may pass, so what failed with it is asked again.

use super::super::{Failure, Group, LogError, MemberTimeout};
use super::native::{Client, Code, Failed, Fault, Remedy};
use crate::shared_error::SharedError;

/// Whether a code only says that no broker can be talked to.
pub(super) fn is_unreachable(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::Authentication
            | Code::SSL
    )
}

/// Whether a question that fails with this code fails for good: a right, a name, a setting or a
/// version is wrong, or the client is of no more use.
pub(super) fn is_final(code: Code) -> bool {
    matches!(
        code,
        // Rights and identities.
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SecurityDisabled
            // Names.
            | Code::InvalidTopic
            | Code::InvalidGroupId
            | Code::TopicAlreadyExists
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            // Settings.
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidReplicaAssignment
            | Code::InvalidConfig
            | Code::InvalidSessionTimeout
            | Code::PolicyViolation
            // Versions, and what we did wrong.
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::InvalidRequest
            | Code::InvalidArgument
            | Code::InvalidType
            | Code::State
            | Code::NotImplemented
            | Code::NotConfigured
            // The client.
            | Code::Fatal
            | Code::Fenced
            | Code::FencedInstanceId
    )
}

/// Whether a fetch that fails with this code is tried again by librdkafka, at the same offset.
///
/// Not librdkafka's local codes: those mean that a record could not be parsed and was skipped.
pub(super) fn is_fetched_again(code: Code) -> bool {
    let is_the_brokers = code == Code::Unknown || code as i32 > 0;
    is_the_brokers
        && !is_final(code)
        && !matches!(
            code,
            Code::OffsetOutOfRange
                | Code::MessageSizeTooLarge
                | Code::UnsupportedCompressionType
                | Code::UnsupportedForMessageFormat
        )
}

/// What ended a producer for good, if anything.
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
pub(super) fn refused_takeover(id: &str, group: &Group, fault: Fault) -> LogError {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_as_final_passes() {
        let rows = [
            (Code::RequestTimedOut, false),
            (Code::NetworkException, false),
            (Code::BrokerTransportFailure, false),
            (Code::OperationTimedOut, false),
            (Code::CoordinatorLoadInProgress, false),
            (Code::NotController, false),
            (Code::KafkaStorageError, false),
            (Code::ThrottlingQuotaExceeded, false),
            (Code::UnstableOffsetCommit, false),
            (Code::Unknown, false),
            (Code::GroupAuthorizationFailed, true),
            (Code::InvalidGroupId, true),
            (Code::UnsupportedVersion, true),
            (Code::FencedInstanceId, true),
        ];
        for (code, ends) in rows {
            assert_eq!(is_final(code), ends, "{code:?}");
        }
    }

    #[test]
    fn a_fetch_ends_for_good_by_what_is_known_or_would_be_skipped() {
        let rows = [
            (Code::RequestTimedOut, true),
            (Code::KafkaStorageError, true),
            (Code::InvalidMessage, true),
            (Code::Unknown, true),
            (Code::BadMessage, false),
            (Code::BadCompression, false),
            (Code::NotImplemented, false),
            (Code::AutoOffsetReset, false),
            (Code::OffsetOutOfRange, false),
            (Code::MessageSizeTooLarge, false),
            (Code::UnknownTopicOrPartition, false),
            (Code::TopicAuthorizationFailed, false),
        ];
        for (code, again) in rows {
            assert_eq!(is_fetched_again(code), again, "{code:?}");
        }
    }
}
