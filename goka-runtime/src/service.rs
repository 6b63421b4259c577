//! A program made with goka: its processors, what runs beside them, and its command line.
//!
//! The files of this folder are the application: [`Service`], [`AppHandle`], the data directory, how a
//! program runs and stops. `commands` reads and writes an open log for commands, also for those of other
//! processes. `cli` is the command line; it uses the rest, and nothing outside of it uses `cli`.

mod app_handle;
mod background;
mod cli;
mod commands;
mod data_dir;
mod error;
mod run;
mod settings;
mod stop;
mod supervise;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub use self::app_handle::AppHandle;
pub use self::error::WaitError;
use self::settings::{Guarantees, UserArg};
use crate::dispatch::ProcessorState;
use crate::edges::Processor;
use crate::graph::Definition;
use crate::record::Guarantee;
use crate::registry::{Finding, Registry, RegistryError};
use crate::shared_error::HandlerError;
use crate::table::Stores;

/// Runs every processor of this binary: `goka::Service::new().main()`.
///
/// ```no_run
/// # use goka_runtime::service as goka;
/// fn main() -> std::process::ExitCode {
///     goka::main()
/// }
/// ```
pub fn main() -> ExitCode {
    Service::new().main()
}

/// A program: the processors of the binary, its background closures, and its command line.
///
/// ```no_run
/// # use goka_runtime::service as goka;
/// use goka::Service;
/// use std::time::Duration;
///
/// fn main() -> std::process::ExitCode {
///     Service::new()
///         .flag("quiet", "Says nothing")
///         .background(|app| {
///             while app.wait(Duration::from_secs(1)) {
///                 if !app.flag("quiet") {
///                     println!("still here");
///                 }
///             }
///             Ok(())
///         })
///         .main()
/// }
/// ```
#[must_use = "a service does nothing until `main`"]
pub struct Service {
    registry: Registry,
    values: BTreeMap<TypeId, Arc<ProcessorState>>,
    backgrounds: Vec<background::Body>,
    user_args: Vec<UserArg>,
    stores: run::MakeStores,
    guarantees: Guarantees,
}

impl Service {
    /// A program with every processor of this binary. Those of a library crate are among them only if the binary
    /// names the crate: `use that_crate as _;`.
    pub fn new() -> Self {
        Self {
            registry: Registry::collect(),
            values: BTreeMap::new(),
            backgrounds: Vec::new(),
            user_args: Vec::new(),
            stores: run::files(),
            guarantees: Guarantees::default(),
        }
    }

    /// Adds a processor that the registry does not have: a generic one, for instance.
    pub fn register<P: Processor>(mut self) -> Self {
        self.registry = self.registry.with::<P>();
        self
    }

    /// Sets the value that the handlers of a processor share, and adds the processor if it is not there.
    pub fn with<P: Processor + Send + Sync>(mut self, value: P) -> Self {
        self.values.insert(TypeId::of::<P>(), Arc::new(value));
        self.register::<P>()
    }

    /// Keeps the group tables in other stores than redb files. `make` gets the directory for them, which is in the
    /// data directory and may not exist yet. [`conformance`](crate::table::conformance) tests a store.
    ///
    /// ```no_run
    /// # mod goka { pub use goka_runtime::{service::Service, table}; }
    /// use goka::Service;
    /// use goka::table::memory::MemoryStores;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     // Tables that are restored at every start.
    ///     Service::new().stores(|_| MemoryStores::default()).main()
    /// }
    /// ```
    pub fn stores<S, F>(mut self, make: F) -> Self
    where
        S: Stores + 'static,
        F: FnOnce(&Path) -> S + Send + 'static,
    {
        self.stores = Box::new(|directory, _| Arc::new(make(directory)));
        self
    }

    /// Sets the guarantee of every processor, whatever each declares. The option `--guarantee` or `GOKA_GUARANTEE`
    /// counts before it.
    ///
    /// ```no_run
    /// # mod goka { pub use goka_runtime::{record::Guarantee, service::Service}; }
    /// use goka::{Guarantee, Service};
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Service::new().guarantee(Guarantee::ExactlyOnce).main()
    /// }
    /// ```
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantees.all = Some(guarantee);
        self
    }

    /// Sets the guarantee of one processor; counts before [`guarantee`](Service::guarantee).
    pub fn guarantee_of<P: Processor>(mut self, guarantee: Guarantee) -> Self {
        self.guarantees.of.insert(TypeId::of::<P>(), guarantee);
        self
    }

    /// Declares a flag of `run`, `--name`, which [`AppHandle::flag`] reads.
    pub fn flag(mut self, name: &'static str, help: &'static str) -> Self {
        self.user_args.push(UserArg {
            name,
            value: None,
            help,
        });
        self
    }

    /// Declares an option of `run`, `--name VALUE`, which [`AppHandle::option`] reads.
    pub fn option(mut self, name: &'static str, value: &'static str, help: &'static str) -> Self {
        self.user_args.push(UserArg {
            name,
            value: Some(value),
            help,
        });
        self
    }

    /// Runs `body` on a thread of its own once the processors have started. It has to return soon after
    /// [`AppHandle::is_stopping`] becomes true. If it fails or panics the program stops, with exit code 2; if it
    /// returns, the rest goes on.
    pub fn background<F>(mut self, body: F) -> Self
    where
        F: FnOnce(&AppHandle) -> Result<(), HandlerError> + Send + 'static,
    {
        self.backgrounds.push(Box::new(body));
        self
    }

    /// The processors, if they can run in one program.
    fn checked(&self) -> Result<Vec<&'static Definition>, RegistryError> {
        self.registry.check().or_else(|mut error| {
            // A program may consist of emitters and views alone.
            if !self.backgrounds.is_empty() {
                error.findings.retain(|finding| *finding != Finding::Empty);
            }
            if error.findings.is_empty() {
                Ok(Vec::new())
            } else {
                Err(error)
            }
        })
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("registry", &self.registry)
            .field("backgrounds", &self.backgrounds.len())
            .field("user_args", &self.user_args)
            .finish_non_exhaustive()
    }
}
