//! A program made with goka: its processors, what it runs beside them, and its command line, the
//! same in every binary. All of it ends in an exit code: 0, 1 for "no such key", 2 for errors.

mod access;
mod app_handle;
mod catalog;
mod cli;
mod data;
mod direct;
mod emit;
mod engine;
mod error;
mod fold;
mod logs;
mod protocol;
mod read;
mod run;
mod server;
mod settings;
mod socket;
mod stop;
mod topology;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub use self::app_handle::{AppHandle, WaitError};
use self::cli::{Args, Command, Own};
use self::error::CliError;
use self::settings::Guarantees;
use crate::dispatch::ProcessorState;
use crate::edges::Processor;
use crate::error::HandlerError;
use crate::graph::{Definition, start_order};
use crate::record::Guarantee;
use crate::registry::{Finding, Registry};
use crate::table::Stores;

/// Runs every processor of this binary: `goka::Service::new().main()`.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     goka_runtime::service::main()
/// }
/// ```
pub fn main() -> ExitCode {
    Service::new().main()
}

/// A program: every processor of the binary, and what the program runs beside them.
///
/// ```no_run
/// use goka_runtime::service::Service;
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
    backgrounds: Vec<app_handle::Body>,
    own: Vec<Own>,
    stores: run::MakeStores,
    guarantees: Guarantees,
}

impl Service {
    /// Every processor of this binary. Those of a library crate are among them only when the binary
    /// names the crate: `use that_crate as _;`.
    pub fn new() -> Self {
        Self {
            registry: Registry::collect(),
            values: BTreeMap::new(),
            backgrounds: Vec::new(),
            own: Vec::new(),
            stores: run::files(),
            guarantees: Guarantees::default(),
        }
    }

    /// Adds a processor that the registry does not have: a generic one, for instance.
    pub fn register<P: Processor>(mut self) -> Self {
        self.registry = self.registry.with::<P>();
        self
    }

    /// Gives a processor the value that its handlers share, and adds it if it is not there.
    pub fn with<P: Processor + Send + Sync>(mut self, value: P) -> Self {
        self.values.insert(TypeId::of::<P>(), Arc::new(value));
        self.register::<P>()
    }

    /// Keeps the group tables in stores of the program's own, instead of files; `make` gets the
    /// directory for them, below the data directory, which may not be there yet.
    /// [`conformance`](crate::table::conformance) judges them.
    ///
    /// ```no_run
    /// use goka_runtime::service::Service;
    /// use goka_runtime::table::memory::MemoryStores;
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

    /// Promises this for every processor, whatever each declares. Who runs the program may say
    /// otherwise: `--guarantee` or `GOKA_GUARANTEE`.
    ///
    /// ```no_run
    /// use goka_runtime::record::Guarantee;
    /// use goka_runtime::service::Service;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Service::new().guarantee(Guarantee::ExactlyOnce).main()
    /// }
    /// ```
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantees.all = Some(guarantee);
        self
    }

    /// The same as [`guarantee`](Service::guarantee) for one processor, which counts before that.
    pub fn guarantee_of<P: Processor>(mut self, guarantee: Guarantee) -> Self {
        self.guarantees.of.insert(TypeId::of::<P>(), guarantee);
        self
    }

    /// Declares a flag of the program's own: `--name`, for `run`, asked for with
    /// [`AppHandle::flag`].
    pub fn flag(mut self, name: &'static str, help: &'static str) -> Self {
        self.own.push(Own {
            name,
            value: None,
            help,
        });
        self
    }

    /// Declares an option of the program's own: `--name VALUE`, for `run`, asked for with
    /// [`AppHandle::option`].
    pub fn option(mut self, name: &'static str, value: &'static str, help: &'static str) -> Self {
        self.own.push(Own {
            name,
            value: Some(value),
            help,
        });
        self
    }

    /// Runs `body` beside the processors, on a thread of its own, once they have started. It is to
    /// return soon after [`AppHandle::is_stopping`]. When it fails or panics the program ends, with
    /// exit code 2; when it returns, the rest goes on.
    pub fn background<F>(mut self, body: F) -> Self
    where
        F: FnOnce(&AppHandle) -> Result<(), HandlerError> + Send + 'static,
    {
        self.backgrounds.push(Box::new(body));
        self
    }

    /// Does what the command line says.
    pub fn main(self) -> ExitCode {
        let asked = match cli::parse(&self.own, std::env::args_os()) {
            Ok(asked) => asked,
            Err(ended) => return ended.report(),
        };
        logs::init();
        match self.execute(asked) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fail) => fail.report(),
        }
    }

    fn execute(self, asked: Args) -> Result<(), CliError> {
        let brokers = asked.brokers.as_deref();
        let open = |writes| access::TableAccess::open(brokers, &asked.data_dir, writes);
        let mut out = BufWriter::new(std::io::stdout().lock());
        match asked.command {
            Command::Run(given, settings) => {
                drop(out);
                let definitions = start_order(self.checked()?);
                let program = run::Program {
                    options: settings::options(&definitions, &settings, &self.guarantees)
                        .map_err(CliError::new)?,
                    definitions,
                    values: self.values,
                    backgrounds: self.backgrounds,
                    given,
                    stores: self.stores,
                    cache: settings::cache(&settings),
                    retried: settings.retried,
                };
                run::run(program, brokers, &asked.data_dir)
            }
            Command::Emit { topic, record } => {
                let terms = catalog::topic(&self.registry.definitions(), &topic);
                let access = open(true)?;
                match record {
                    Some((key, value)) => emit::one(&access, &terms, &key, &value),
                    None => emit::lines(&access, &terms, std::io::stdin().lock()),
                }
            }
            Command::Get { group, key } => {
                let definitions = self.registry.definitions();
                read::get(&open(false)?, &definitions, &group, &key, &mut out)
            }
            Command::Scan {
                group,
                prefix,
                limit,
            } => {
                let definitions = self.registry.definitions();
                let prefix = prefix.as_deref();
                read::scan(&open(false)?, &definitions, &group, prefix, limit, &mut out)
            }
            Command::Visit {
                group,
                name,
                argument,
            } => {
                let definitions = self.registry.definitions();
                let terms = catalog::visit(&definitions, &group, &name)?;
                emit::everywhere(&open(true)?, &terms, &name, &argument)
            }
            Command::Topology(format) => {
                topology::print(&self.registry.application(), format, &mut out)
                    .map_err(|error| error::output(&error))?;
                self.checked().map(drop)
            }
        }
    }

    /// The processors, when they can live in one program.
    fn checked(&self) -> Result<Vec<&'static Definition>, CliError> {
        self.registry.check().or_else(|error| {
            let mut findings = error.findings;
            // A program may have emitters and views alone.
            if !self.backgrounds.is_empty() {
                findings.retain(|finding| *finding != Finding::Empty);
            }
            if findings.is_empty() {
                return Ok(Vec::new());
            }
            Err(CliError::Errors(
                findings.iter().map(ToString::to_string).collect(),
            ))
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
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}
