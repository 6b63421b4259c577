//! The command line of a program: the commands `run`, `emit`, `get`, `scan`, `visit` and `topology`. Every
//! command ends in an exit code: 0, 1 for a key that does not exist, 2 for errors.

mod access;
mod args;
mod catalog;
mod emit;
mod error;
mod read;
mod run_options;

use std::io::{BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use self::access::TableAccess;
use self::args::{Args, Command};
use self::error::CliError;
use super::{Service, run, settings};
use crate::graph::order::start_order;

impl Service {
    /// Runs the command that the command line names; without one, `run`.
    pub fn main(self) -> ExitCode {
        let args = match args::parse(&self.user_args, std::env::args_os()) {
            Ok(args) => args,
            Err(error) => return error.report(),
        };
        init_logs();
        match self.execute(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }

    fn execute(self, args: Args) -> Result<(), CliError> {
        let brokers = args.brokers.as_deref();
        let open = |writes| TableAccess::open(brokers, &args.data_dir, writes);
        let definitions = self.registry.definitions();
        let mut out = BufWriter::new(std::io::stdout().lock());
        match args.command {
            Command::Run(user_args, settings) => {
                drop(out);
                let definitions = start_order(self.checked()?);
                let program = run::Program {
                    options: settings::options(&definitions, &settings, &self.guarantees)
                        .map_err(CliError::new)?,
                    definitions,
                    values: self.values,
                    backgrounds: self.backgrounds,
                    user_args,
                    stores: self.stores,
                    cache: settings::cache(&settings),
                };
                Ok(run::run(program, brokers, &args.data_dir)?)
            }
            Command::Emit { topic, record } => {
                let codecs = catalog::topic(&definitions, &topic);
                let access = open(true)?;
                match record {
                    Some((key, value)) => emit::one(&access, &codecs, &key, &value),
                    None => emit::lines(&access, &codecs, std::io::stdin().lock()),
                }
            }
            Command::Get { group, key } => {
                read::get(&open(false)?, &definitions, &group, &key, &mut out)
            }
            Command::Scan {
                group,
                prefix,
                limit,
            } => {
                let prefix = prefix.as_deref();
                read::scan(&open(false)?, &definitions, &group, prefix, limit, &mut out)
            }
            Command::Visit {
                group,
                name,
                argument,
            } => {
                let codecs = catalog::visit(&definitions, &group, &name)?;
                emit::everywhere(&open(true)?, &codecs, &name, &argument)
            }
            Command::Topology(format) => {
                let text = format(&self.registry.application());
                out.write_all(text.as_bytes())
                    .and_then(|()| out.flush())
                    .map_err(|error| error::output(&error))?;
                self.checked()?;
                Ok(())
            }
        }
    }
}

/// The log of the program: lines on standard error, filtered by RUST_LOG. Standard output is for data. A program
/// may have installed its own subscriber, which stays.
fn init_logs() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let events = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .finish();
    let _ = tracing::subscriber::set_global_default(events);
}
