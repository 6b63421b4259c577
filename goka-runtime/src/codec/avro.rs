//! Avro records in Confluent's wire format: a zero byte, the id that a schema registry gave to the
//! writer's schema, Avro's binary encoding. Each schema is asked for once.

mod registry;
#[cfg(test)]
mod tests;

use std::any::TypeId;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;

pub use self::registry::Registry;
use super::{Codec, CodecError, Serde, text};
use crate::shared_error::SharedError;

/// A serde type with its Avro schema, for [`Avro`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no Avro schema",
    label = "no `goka::avro::Record`",
    note = "implement `goka::avro::Record` for `{Self}`"
)]
pub trait Record: Serde {
    /// The schema, as JSON.
    const SCHEMA: &'static str;

    /// The subject that the schema is registered under; without one the record's full name, as with
    /// Confluent's `RecordNameStrategy`. Its default, `TopicNameStrategy`, is `<topic>-value`.
    const SUBJECT: Option<&'static str> = None;
}

/// The codec that writes Avro records as Confluent's serializers do; feature `avro`.
///
/// It is for declarations (`value = Avro<Ride>`); handlers take and emit the record itself. Records with another
/// schema are read by Avro's rules of schema resolution. Schemas are registered with, and fetched from, the
/// [`Registry`]. As text, for the commands, a record is JSON.
///
/// ```no_run
/// # mod goka { pub use goka_runtime::codec::*; }
/// use goka::avro::{Avro, Record, Registry};
/// use goka::Codec;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Ride {
///     id: i64,
/// }
///
/// impl Record for Ride {
///     const SCHEMA: &str = r#"{"type": "record", "name": "Ride", "namespace": "taxi",
///         "fields": [{"name": "id", "type": "long"}]}"#;
///     const SUBJECT: Option<&str> = Some("rides-value");
/// }
///
/// Registry::new("http://localhost:8081").install();
/// let mut bytes = Vec::new();
/// Avro::<Ride>::encode(&Ride { id: 17 }, &mut bytes)?;
/// assert_eq!(bytes[0], 0);
/// # Ok::<(), goka::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Avro<T>(pub T);

wrapper!(Avro);

const NAME: &str = "avro";

fn refused(reason: impl Into<SharedError>) -> CodecError {
    CodecError::new(NAME, reason)
}

/// The parsed schema of `T`.
fn schema_of<T: Record>() -> Result<Arc<Schema>, CodecError> {
    static SCHEMAS: LazyLock<Cache<TypeId, Arc<Schema>>> = LazyLock::new(RwLock::default);
    cached(&SCHEMAS, TypeId::of::<T>(), || {
        let schema = Schema::parse_str(T::SCHEMA).map_err(refused)?;
        Ok(Arc::new(schema))
    })
}

type Cache<K, V> = RwLock<HashMap<K, V>>;

/// What is known of a key, found out once. The lock is not held meanwhile.
fn cached<K: Eq + Hash, V: Clone>(
    known: &Cache<K, V>,
    key: K,
    find: impl FnOnce() -> Result<V, CodecError>,
) -> Result<V, CodecError> {
    let before = known.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = before.get(&key) {
        return Ok(found.clone());
    }
    drop(before);
    let found = find()?;
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(key, found.clone());
    Ok(found)
}

fn subject_of<T: Record>(schema: &Schema) -> Result<String, CodecError> {
    match (T::SUBJECT, schema.name()) {
        (Some(subject), _) => Ok(subject.to_owned()),
        (None, Some(name)) => Ok(name.to_string()),
        (None, None) => Err(refused("a schema without a name needs a `SUBJECT`")),
    }
}

impl<T: Record> Codec for Avro<T> {
    type Value = T;
    const NAME: &'static str = NAME;

    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let schema = schema_of::<T>()?;
        // Before the registry is asked: a value that does not fit the schema needs no request.
        let writer = GenericDatumWriter::builder(&schema)
            .build()
            .map_err(refused)?;
        let datum = writer.write_ser_to_vec(value).map_err(refused)?;
        let id = Registry::get()?.id(&subject_of::<T>(&schema)?, T::SCHEMA)?;
        out.push(0);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&datum);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        let Some(([0, id @ ..], mut datum)) = bytes.split_first_chunk::<5>() else {
            return Err(refused(format!(
                "{} does not begin with a zero byte and a schema's id",
                text::excerpt(bytes)
            )));
        };
        let written = Registry::get()?.schema(u32::from_be_bytes(*id))?;
        let schema = schema_of::<T>()?;
        let reader = GenericDatumReader::builder(&written)
            .reader_schema(&schema)
            .build()
            .map_err(refused)?;
        let value = reader.read_value(&mut datum).map_err(refused)?;
        if !datum.is_empty() {
            return Err(refused(format!("{} bytes too many", datum.len())));
        }
        apache_avro::from_value(&value).map_err(refused)
    }

    /// JSON, as serde reads it.
    fn parse(text: &str) -> Result<Vec<u8>, CodecError> {
        let value = serde_json::from_str(text).map_err(refused)?;
        let mut bytes = Vec::new();
        Self::encode(&value, &mut bytes)?;
        Ok(bytes)
    }

    /// JSON, as serde writes it.
    fn show(bytes: &[u8]) -> Result<String, CodecError> {
        serde_json::to_string(&Self::decode(bytes)?).map_err(refused)
    }
}
