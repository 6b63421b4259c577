//! The members of a group and their assignments, as its coordinator describes them.

use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Code, Fault, code, done, entries, millis, name, string};
use super::handles::Topic;
use crate::record::TopicPartition;

#[derive(Debug)]
pub(crate) struct Census {
    /// Whether every member has its assignment, and none is asked to join again.
    pub(crate) is_stable: bool,
    pub(crate) members: Vec<MemberInfo>,
}

#[derive(Debug)]
pub(crate) struct MemberInfo {
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) assigned: Vec<TopicPartition>,
}

impl Client {
    /// The name that the group's coordinator gave this consumer; empty before it is a member. The
    /// client's own thread answers, no broker.
    pub(crate) fn member_id(&self) -> String {
        // SAFETY: live consumer; the string is ours, read and freed once.
        unsafe {
            let id = sys::rd_kafka_memberid(self.ptr());
            let text = string(id);
            if !id.is_null() {
                sys::rd_kafka_mem_free(self.ptr(), id.cast::<c_void>());
            }
            text
        }
    }

    /// How many partitions a topic has. Blocks for at most `wait`.
    pub(crate) fn partitions(&self, topic: &str, wait: Duration) -> Result<i32, Fault> {
        let topic = self.topic(topic)?;
        self.metadata(Some(&topic), wait, |topics| match topics {
            [topic] => done(topic.err).map(|()| topic.partition_cnt),
            _ => Err(Fault::of(Code::UnknownTopic)),
        })
    }

    /// The topics with so many partitions that this client may see. Blocks for at most `wait`.
    pub(crate) fn topics_of(&self, partitions: i32, wait: Duration) -> Result<Vec<String>, Fault> {
        self.metadata(None, wait, |topics| {
            let topics = topics.iter();
            let alike = topics.filter(|topic| topic.partition_cnt == partitions);
            // SAFETY: live metadata, which owns its names.
            Ok(alike.map(|topic| unsafe { string(topic.topic) }).collect())
        })
    }

    /// Reads what the cluster says of one topic, or of all.
    fn metadata<T>(
        &self,
        topic: Option<&Topic>,
        wait: Duration,
        read: impl FnOnce(&[sys::rd_kafka_metadata_topic]) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (all, topic) = topic.map_or((1, ptr::null_mut()), |topic| (0, topic.ptr()));
        let (wait, mut found) = (millis(wait).max(1), ptr::null());
        // SAFETY: live client and topic; what is found is ours, read and freed once.
        unsafe {
            let err = sys::rd_kafka_metadata(self.ptr(), all, topic, &raw mut found, wait);
            done(err)?;
            let answer = read(entries((*found).topics.cast_const(), (*found).topic_cnt));
            sys::rd_kafka_metadata_destroy(found);
            answer
        }
    }

    /// Describes the members of a group and their assignments. Blocks for at most `wait`.
    ///
    /// Not the admin call of the same purpose: that one ends the process when the connection to the
    /// coordinator breaks (librdkafka issue 4605).
    pub(crate) fn census(&self, group: &str, wait: Duration) -> Result<Census, Fault> {
        let wanted = name(group)?;
        let mut found = ptr::null();
        // SAFETY: live client and string; what is found is ours, read and freed once. Part of it is
        // found when some broker did not answer.
        unsafe {
            let (client, wait) = (self.ptr(), millis(wait).max(1));
            let err = sys::rd_kafka_list_groups(client, wanted.as_ptr(), &raw mut found, wait);
            if found.is_null() {
                return Err(Fault::of(code(err).unwrap_or(Code::Fail)));
            }
            let groups = entries((*found).groups, (*found).group_cnt);
            let census = match groups.iter().find(|it| string(it.group) == group) {
                Some(group) => read(group),
                None => Err(Fault::of(Code::GroupIdNotFound)),
            };
            sys::rd_kafka_group_list_destroy(found);
            census
        }
    }
}

/// # Safety
/// The group and what it points to are live.
unsafe fn read(group: &sys::rd_kafka_group_info) -> Result<Census, Fault> {
    done(group.err)?;
    // SAFETY: as the caller says; bytes and their length belong together.
    unsafe {
        let members = entries(group.members.cast_const(), group.member_cnt).iter();
        let members = members.map(|member| {
            let (at, size) = (member.member_assignment, member.member_assignment_size);
            let bytes = entries(at.cast::<u8>().cast_const(), size);
            Ok(MemberInfo {
                id: string(member.member_id),
                client: string(member.client_id),
                host: string(member.client_host),
                assigned: assignment(bytes).ok_or_else(|| Fault::of(Code::BadMessage))?,
            })
        });
        Ok(Census {
            is_stable: string(group.state) == "Stable",
            members: members.collect::<Result<_, Fault>>()?,
        })
    }
}

/// Reads Kafka's `ConsumerProtocolAssignment`; members without one have no bytes at all.
fn assignment(mut bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    let mut assigned = Vec::new();
    if bytes.is_empty() {
        return Some(assigned);
    }
    let bytes = &mut bytes;
    let _version = i16::from_be_bytes(take(bytes)?);
    for _ in 0..i32::from_be_bytes(take(bytes)?) {
        let length = usize::try_from(i16::from_be_bytes(take(bytes)?)).ok()?;
        let (topic, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let topic = std::str::from_utf8(topic).ok()?;
        for _ in 0..i32::from_be_bytes(take(bytes)?) {
            let partition = i32::from_be_bytes(take(bytes)?);
            assigned.push(TopicPartition::new(topic, partition));
        }
    }
    // User data follows, which our members do not send.
    Some(assigned)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::{TopicPartition, assignment};

    #[test]
    fn an_assignment_is_read_or_refused() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\0\0\0\0\0";
        let both = [0, 7].map(|partition| TopicPartition::new("a", partition));
        assert_eq!(assignment(bytes), Some(both.to_vec()));
        assert_eq!(assignment(b""), Some(Vec::new()));
        for end in 1..bytes.len() - 4 {
            assert_eq!(assignment(&bytes[..end]), None, "cut at {end}");
        }
    }
}
