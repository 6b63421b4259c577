//! The client of a Confluent schema registry, one for the process: schemas by id, and ids by schema. Knows no
//! types.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use apache_avro::Schema;
use schema_registry_converter::blocking::schema_registry::{
    SrSettings, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};

use super::{Cache, cached, refused};
use crate::codec::CodecError;

/// The environment variable with the URL of the registry, for a program that installs none.
const VARIABLE: &str = "GOKA_SCHEMA_REGISTRY";

/// How long a request to the registry may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The registry of this process.
static INSTALLED: RwLock<Option<Arc<Registry>>> = RwLock::new(None);

/// A Confluent schema registry. Each schema is asked for once.
///
/// A program has one: [`install`](Registry::install) it before anything runs, or set
/// `GOKA_SCHEMA_REGISTRY` to its URL.
pub struct Registry {
    urls: Vec<String>,
    credentials: Option<(String, String)>,
    /// Made by the first request.
    settings: OnceLock<Result<SrSettings, String>>,
    schemas: Cache<u32, Arc<Schema>>,
    /// By subject and schema.
    ids: Cache<(String, &'static str), u32>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.urls).finish()
    }
}

impl Registry {
    /// A registry by its URL, or several of one cluster with commas between them.
    ///
    /// ```
    /// # use goka_runtime::codec as goka;
    /// use goka::avro::Registry;
    ///
    /// let registry = Registry::new("http://one:8081,http://two:8081").basic_auth("user", "secret");
    /// # let _ = registry;
    /// ```
    pub fn new(urls: &str) -> Self {
        Self {
            urls: urls.split(',').map(|url| url.trim().to_owned()).collect(),
            credentials: None,
            settings: OnceLock::new(),
            schemas: RwLock::default(),
            ids: RwLock::default(),
        }
    }

    /// Adds a name and a password.
    #[must_use]
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.credentials = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Makes it the registry of this process, and replaces the one before.
    pub fn install(self) {
        let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
        *installed = Some(Arc::new(self));
    }

    /// The registry of this process.
    pub(super) fn get() -> Result<Arc<Self>, CodecError> {
        let installed = INSTALLED.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = &*installed {
            return Ok(registry.clone());
        }
        drop(installed);
        let Ok(urls) = std::env::var(VARIABLE) else {
            return Err(refused(format!(
                "no schema registry: set `{VARIABLE}` to its URL, or install a `goka::avro::Registry`"
            )));
        };
        let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
        Ok(installed
            .get_or_insert_with(|| Arc::new(Self::new(&urls)))
            .clone())
    }

    /// The schema with an id.
    pub(super) fn schema(&self, id: u32) -> Result<Arc<Schema>, CodecError> {
        cached(&self.schemas, id, || {
            let found = self.ask(|settings| get_schema_by_id(id, settings))?;
            if !found.references.is_empty() {
                return Err(refused(format!(
                    "schema {id} refers to other schemas, which is not supported"
                )));
            }
            let schema = Schema::parse_str(&found.schema).map_err(refused)?;
            Ok(Arc::new(schema))
        })
    }

    /// The id of a schema, which is registered if it is not yet.
    pub(super) fn id(&self, subject: &str, schema: &'static str) -> Result<u32, CodecError> {
        let subject = subject.to_owned();
        cached(&self.ids, (subject.clone(), schema), || {
            let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
            let found = self.ask(|settings| post_schema(settings, subject, supplied))?;
            Ok(found.id)
        })
    }

    /// Sends a request on a thread of its own: the client blocks, and would panic on a thread that drives
    /// asynchronous handlers.
    fn ask<A: Send>(
        &self,
        question: impl FnOnce(&SrSettings) -> Result<A, SRCError> + Send,
    ) -> Result<A, CodecError> {
        let unreachable = |error: &dyn fmt::Display| {
            refused(format!("schema registry {}: {error}", self.urls.join(", ")))
        };
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| match self.settings.get_or_init(|| self.settings()) {
                Ok(settings) => question(settings).map_err(|error| unreachable(&error)),
                Err(error) => Err(unreachable(error)),
            });
            asking.join()
        });
        asked.unwrap_or_else(|_| Err(unreachable(&"the client panicked")))
    }

    fn settings(&self) -> Result<SrSettings, String> {
        let mut urls = self.urls.iter();
        let first = urls.next().cloned().unwrap_or_default();
        let mut builder = SrSettings::new_builder(first);
        for url in urls {
            builder.add_url(url.clone());
        }
        builder.set_timeout(REQUEST_TIMEOUT);
        if let Some((user, password)) = &self.credentials {
            builder.set_basic_authorization(user, Some(password));
        }
        builder.build().map_err(|error| error.to_string())
    }
}
