//! What the errors of a consumer mean for its member. Knows no state of the member.

use std::sync::Arc;

use super::super::super::{Group, LogError, MemberTimeout};
use super::super::codes::is_unreachable;
use super::super::config::instance;
use super::super::native::{Client, Code, Fault};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConsumerError {
    /// The connections to all brokers failed.
    AllBrokers(String),
    /// The connection to one broker failed.
    Broker(String),
    /// The group has no assignment for the member. That may pass: a topic may be created, the group may
    /// get room, and members of another kind may leave it.
    Subscription(String),
    /// The member cannot join.
    Refused(LogError),
    /// The client deals with it.
    Other,
}

/// Classifies an error that the consumer reported, about `topic` if it names one.
pub(super) fn classify(group: &Group, fault: Fault, topic: Option<Arc<str>>) -> ConsumerError {
    let reason = fault.reason.clone();
    match fault.code {
        Code::AllBrokersDown => ConsumerError::AllBrokers(reason),
        code if is_unreachable(code) => ConsumerError::Broker(reason),
        Code::GroupAuthorizationFailed | Code::InvalidGroupId => {
            let what = format!("joining group `{}`", group.name);
            ConsumerError::Refused(LogError::refused(what, fault))
        }
        Code::InvalidSessionTimeout => ConsumerError::Refused(LogError::TimeoutRefused {
            timeout: MemberTimeout::Session,
            given: group.session_timeout,
            group: group.name.to_string(),
            reason: format!(
                "{reason}; set one between the broker's `group.min.session.timeout.ms` and \
                 `group.max.session.timeout.ms`, or change those",
            ),
        }),
        Code::TopicAuthorizationFailed => {
            let what = format!("subscribing to topic `{}`", topic.unwrap_or_default());
            ConsumerError::Refused(LogError::refused(what, fault))
        }
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::GroupMaxSizeReached
        | Code::InconsistentGroupProtocol => ConsumerError::Subscription(reason),
        code => {
            tracing::debug!(?code, reason, "consumer error");
            ConsumerError::Other
        }
    }
}

/// The error of a client that ended: `fault`, unless the client knows more.
pub(super) fn ended(client: &Client, group: &Group, fault: Fault) -> LogError {
    let fault = client.fatal().unwrap_or(fault);
    match fault.code {
        Code::FencedInstanceId | Code::UnreleasedInstanceId => LogError::InstanceFenced {
            who: format!("group instance `{}`", instance(group)),
            reason: fault.reason,
        },
        _ => LogError::client(format!("group `{}`", group.name), fault),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::group;
    use super::*;

    #[test]
    fn errors_that_may_pass_end_no_member() {
        type Kind = fn(&ConsumerError) -> bool;
        let rows: [(Code, Kind); 8] = [
            (Code::AllBrokersDown, |it| {
                matches!(it, ConsumerError::AllBrokers(_))
            }),
            (Code::BrokerTransportFailure, |it| {
                matches!(it, ConsumerError::Broker(_))
            }),
            (Code::UnknownTopicOrPartition, |it| {
                matches!(it, ConsumerError::Subscription(_))
            }),
            (Code::GroupMaxSizeReached, |it| {
                matches!(it, ConsumerError::Subscription(_))
            }),
            (Code::GroupAuthorizationFailed, |it| {
                matches!(it, ConsumerError::Refused(_))
            }),
            (Code::TopicAuthorizationFailed, |it| {
                matches!(it, ConsumerError::Refused(_))
            }),
            (Code::InvalidSessionTimeout, |it| {
                matches!(it, ConsumerError::Refused(_))
            }),
            (Code::NotCoordinator, |it| *it == ConsumerError::Other),
        ];
        for (code, is_expected) in rows {
            let reason = "reason".to_owned();
            let found = classify(&group(), Fault { code, reason }, None);
            assert!(is_expected(&found), "{code:?}: {found:?}");
        }
    }
}
