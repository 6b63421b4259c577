//! librdkafka behind safe types: the one place with `unsafe`. It knows handles, queues, events,
//! lists and messages; it decides nothing. What is thread-safe and who frees what is said where the
//! pointer is made. Used by the rest of the Kafka engine only.
//!
//! Clients are made here, not with `rdkafka`'s wrappers, because every call of ours needs a deadline:
//! their consumers poll without end when dropped, their events lose the topic of an error, and batch
//! fetches, commits on a queue and most admin calls are not wrapped.

mod admin;
mod client;
mod consumer;
mod event;
mod fault;
mod group;
mod handles;
mod list;
mod message;
mod producer;

pub(super) use admin::{Ask, Described};
pub(super) use client::{Client, Kind};
pub(super) use event::{Event, EventKind};
pub(super) use fault::{Code, Fault, text};
pub(super) use group::MemberInfo;
pub(super) use handles::{Queue, Topic};
pub(super) use list::{List, Place};
pub(super) use message::{Batch, Message, PartitionError};
pub(super) use producer::{Failed, Membership, Remedy};
