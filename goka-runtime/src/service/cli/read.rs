//! The commands `get` and `scan`: print a group's table as its topic has it.

use std::io::Write;

use super::access::TableAccess;
use super::catalog::{self, TopicCodecs};
use super::error::{self, CliError};
use crate::codec::Codec;
use crate::graph::{Definition, Format};
use crate::log::after;

/// Prints the value of a key, and nothing else.
pub(super) fn get(
    access: &TableAccess,
    definitions: &[&'static Definition],
    group: &str,
    key: &str,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let codecs = catalog::table(definitions, group)?;
    let bytes = (codecs.key.parse)(key)
        .map_err(|error| CliError::new(format!("key `{key}` of group `{group}`: {error}")))?;
    let partitions = partitions(access, definitions, &codecs, group)?;
    let partition = (codecs.partition_of)(&bytes, partitions);
    let Some(value) = access.get(&codecs.topic, partition, bytes)? else {
        return Err(CliError::NoSuchKey(format!(
            "no key `{key}` in the table of group `{group}`"
        )));
    };
    let value = shown(&codecs.value, "value", &value, &codecs, key)?;
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .map_err(|error| error::output(&error))
}

/// Prints `key<TAB>value` lines in key order.
pub(super) fn scan(
    access: &TableAccess,
    definitions: &[&'static Definition],
    group: &str,
    prefix: Option<&str>,
    limit: Option<usize>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let codecs = catalog::table(definitions, group)?;
    let partitions = partitions(access, definitions, &codecs, group)?;
    // The codec of the key cannot read a part of a key, so the prefix is text with the escapes that are
    // printed.
    let prefix = <Vec<u8> as Codec>::parse(prefix.unwrap_or_default())
        .map_err(|error| CliError::new(format!("--prefix: {error}; double a backslash")))?;
    access.scan(
        &codecs.topic,
        partitions,
        prefix,
        limit,
        &mut |key, value| {
            let key = shown(
                &codecs.key,
                "key",
                key,
                &codecs,
                &String::from_utf8_lossy(key),
            )?;
            let value = shown(&codecs.value, "value", value, &codecs, &key)?;
            writeln!(out, "{key}\t{value}").map_err(|error| error::output(&error))
        },
    )?;
    out.flush().map_err(|error| error::output(&error))
}

fn partitions(
    access: &TableAccess,
    definitions: &[&'static Definition],
    codecs: &TopicCodecs,
    group: &str,
) -> Result<i32, CliError> {
    access.table(&codecs.topic)?.ok_or_else(|| {
        CliError::new(format!(
            "group `{group}` has no table yet: topic `{}` does not exist{}; run its processor first \
             ({})",
            codecs.topic,
            after(access.topic_timeout()),
            catalog::groups(definitions)
        ))
    })
}

fn shown(
    format: &Format,
    what: &str,
    bytes: &[u8],
    codecs: &TopicCodecs,
    key: &str,
) -> Result<String, CliError> {
    (format.show)(bytes).map_err(|error| {
        CliError::new(format!(
            "{what} of key `{key}` in topic `{}`: {error}; this program declares another codec than \
             the one it was written with",
            codecs.topic
        ))
    })
}
