//! The members of a group and their assignments, as its coordinator describes them.

use std::ffi::c_void;
use std::time::Duration;
use std::{ptr, slice};

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Code, Fault, code, millis, name, string};

/// A group at one moment.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Whether every member has its assignment, and none is asked to join again.
    pub(crate) is_stable: bool,
    /// Every topic's partition that is in a member's assignment.
    pub(crate) assigned: Vec<(String, i32)>,
    /// Its members: client, host, and what each is assigned.
    pub(crate) members: Vec<MemberInfo>,
}

/// A member as its coordinator describes it.
#[derive(Debug)]
pub(crate) struct MemberInfo {
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) host: String,
    /// Where its assignment begins and ends in [`Census::assigned`].
    pub(crate) assigned: std::ops::Range<usize>,
}

impl Census {
    /// The member that has a topic's partition in its assignment.
    pub(crate) fn holder(&self, topic: &str, partition: i32) -> Option<&MemberInfo> {
        let is_at = |at: &(String, i32)| at.0 == topic && at.1 == partition;
        let holds = |of: &&MemberInfo| self.assigned[of.assigned.clone()].iter().any(is_at);
        self.members.iter().find(holds)
    }
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
        let mut found = ptr::null();
        // SAFETY: live client and topic; what is found is ours, read and freed once.
        unsafe {
            let (client, wait) = (self.ptr(), millis(wait).max(1));
            let err = sys::rd_kafka_metadata(client, 0, topic.ptr(), &raw mut found, wait);
            if let Some(code) = code(err) {
                return Err(Fault::of(code));
            }
            let count = match (*found).topic_cnt {
                1 => Ok(*(*found).topics),
                _ => Err(Fault::of(Code::UnknownTopic)),
            };
            let count = count.and_then(|topic| match code(topic.err) {
                Some(code) => Err(Fault::of(code)),
                None => Ok(topic.partition_cnt),
            });
            sys::rd_kafka_metadata_destroy(found);
            count
        }
    }

    /// The topics with so many partitions that this client may see. Blocks for at most `wait`.
    pub(crate) fn topics_of(&self, partitions: i32, wait: Duration) -> Result<Vec<String>, Fault> {
        let mut found = ptr::null();
        // SAFETY: live client; what is found is ours, read and freed once, after its names were copied.
        unsafe {
            let (client, wait) = (self.ptr(), millis(wait).max(1));
            let err = sys::rd_kafka_metadata(client, 1, ptr::null_mut(), &raw mut found, wait);
            if let Some(code) = code(err) {
                return Err(Fault::of(code));
            }
            let topics = list((*found).topics.cast_const(), (*found).topic_cnt);
            let alike = topics
                .iter()
                .filter(|topic| topic.partition_cnt == partitions);
            let names = alike.map(|topic| string(topic.topic)).collect();
            sys::rd_kafka_metadata_destroy(found);
            Ok(names)
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
            let groups = list((*found).groups, (*found).group_cnt);
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
/// `at` points to `count` live entries, or `count` is 0.
unsafe fn list<'l, T>(at: *const T, count: i32) -> &'l [T] {
    match usize::try_from(count) {
        // SAFETY: as the caller says.
        Ok(count) if count > 0 => unsafe { slice::from_raw_parts(at, count) },
        _ => &[],
    }
}

/// # Safety
/// The group and what it points to are live.
unsafe fn read(group: &sys::rd_kafka_group_info) -> Result<Census, Fault> {
    if let Some(code) = code(group.err) {
        return Err(Fault::of(code));
    }
    let mut census = Census {
        // SAFETY: as the caller says.
        is_stable: unsafe { string(group.state) } == "Stable",
        assigned: Vec::new(),
        members: Vec::new(),
    };
    // SAFETY: as the caller says; bytes and their length belong together.
    unsafe {
        for member in list(group.members, group.member_cnt) {
            let bytes = list(
                member.member_assignment.cast::<u8>().cast_const(),
                member.member_assignment_size,
            );
            let from = census.assigned.len();
            assignment(bytes, &mut census.assigned).ok_or_else(|| Fault::of(Code::BadMessage))?;
            census.members.push(MemberInfo {
                id: string(member.member_id),
                client: string(member.client_id),
                host: string(member.client_host),
                assigned: from..census.assigned.len(),
            });
        }
    }
    Ok(census)
}

/// Reads Kafka's `ConsumerProtocolAssignment`; members without one have no bytes at all.
fn assignment(mut bytes: &[u8], assigned: &mut Vec<(String, i32)>) -> Option<()> {
    if bytes.is_empty() {
        return Some(());
    }
    let bytes = &mut bytes;
    let _version = i16::from_be_bytes(take(bytes)?);
    for _ in 0..i32::from_be_bytes(take(bytes)?) {
        let length = usize::try_from(i16::from_be_bytes(take(bytes)?)).ok()?;
        let (topic, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let topic = std::str::from_utf8(topic).ok()?;
        for _ in 0..i32::from_be_bytes(take(bytes)?) {
            assigned.push((topic.to_owned(), i32::from_be_bytes(take(bytes)?)));
        }
    }
    // User data follows, which our members do not send.
    Some(())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn an_assignment_is_read_or_refused() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\0\0\0\0\0";
        let read = |bytes: &[u8]| {
            let mut assigned = Vec::new();
            assignment(bytes, &mut assigned).map(|()| assigned)
        };
        let both = vec![("a".to_owned(), 0), ("a".to_owned(), 7)];
        assert_eq!(read(bytes), Some(both));
        assert_eq!(read(b""), Some(Vec::new()));
        for end in 1..bytes.len() - 4 {
            assert_eq!(read(&bytes[..end]), None, "cut at {end}");
        }
    }
}
