//! The topics that the cases share.

use goka::prelude::*;
use serde::{Deserialize, Serialize};

/// What an alert says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert(pub i64);

/// Without a codec.
#[derive(Debug, Clone)]
pub struct Plain;

/// Clicks, keyed by user.
#[derive(Debug)]
#[stream("user-clicks", key = String, value = String, partitions = 8)]
pub struct UserClicks;

/// The same, under another name.
pub type SameClicks = UserClicks;

/// Alerts.
#[derive(Debug)]
#[stream("alerts", value = Json<Alert>)]
pub struct Alerts;

/// Numbers.
#[derive(Debug)]
#[stream("numbers", key = String, value = i64)]
pub struct Numbers;

/// Bytes.
#[derive(Debug)]
#[stream("blobs", value = Vec<u8>)]
pub struct Blobs;

/// Keyed by numbers.
#[derive(Debug)]
#[stream("by-number", key = u64, value = i64)]
pub struct ByNumber;

/// Partitioned as by Goka.
#[derive(Debug)]
#[stream("by-fnv", value = String, partitioner = goka::Fnv1a)]
pub struct ByFnv;

/// Of four partitions.
#[derive(Debug)]
#[stream("four", value = String, partitions = 4)]
pub struct Four;

/// Profiles.
#[derive(Debug)]
#[table("profiles", value = Json<Alert>)]
pub struct Profiles;

/// Without keys.
#[derive(Debug)]
#[stream("measurements", keyless, value = i64)]
pub struct Measurements;

/// Without keys, in text.
#[derive(Debug)]
#[stream("measurements-text", keyless, value = String)]
pub struct MeasurementsText;

/// Places all keys of a tenant, which is their first part, in one partition.
pub fn by_tenant(key: &[u8], count: i32) -> i32 {
    let tenant = key.split(|byte| *byte == b'/').next().unwrap_or_default();
    <goka::Murmur2 as goka::Partitioner>::partition(tenant, count)
}

/// A function with the name of a parameter.
pub fn key(_: &[u8], _: i32) -> i32 {
    0
}

/// Placed by [`key`].
#[derive(Debug)]
#[stream("by-key", value = String, partitioner = key)]
pub struct ByKey;

/// Placed by a function.
#[derive(Debug)]
#[stream("by-tenant", value = String, partitioner = by_tenant)]
pub struct ByTenant;

/// Plans, keyed by number.
#[derive(Debug)]
#[table("plans", key = u64, value = String)]
pub struct Plans;

/// Profiles in four partitions.
#[derive(Debug)]
#[table("profiles-four", value = Json<Alert>, partitions = 4)]
pub struct ProfilesFour;

/// A table partitioned as by Goka.
#[derive(Debug)]
#[table("table-by-fnv", value = String, partitioner = goka::Fnv1a)]
pub struct TableByFnv;
