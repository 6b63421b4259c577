//! The crash harness: kills a process with a processor on a real Kafka, at random moments and at every step
//! that makes something durable, and starts it again, on the same disk or on an empty one. After each kill
//! it checks what is left. README.md says how to run it.

mod child;
mod fold;
mod harness;
mod input;
mod oracle;
mod points;
mod process;
mod random;
mod summary;
mod topics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use goka_runtime::record::Guarantee;

/// Exit codes other than success: there are findings, the harness failed, there is no Kafka.
const FINDINGS: u8 = 1;
const FAILED: u8 = 2;
const NO_KAFKA: u8 = 3;

#[derive(Debug, Parser)]
#[command(about = "Kills a processor on a real Kafka, again and again, and checks what is left")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    #[command(subcommand)]
    command: Option<Internal>,
}

/// The options of a run.
#[derive(Debug, Clone, clap::Args)]
struct Plan {
    /// How many kills with records in hand to do
    #[arg(long, default_value_t = 300)]
    kills: u64,
    /// The seed of all choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "at-least-once")]
    guarantee: Guarantee,
    /// Kills between two comparisons with the whole input
    #[arg(long, default_value_t = 10)]
    check_every: u64,
    /// How many records a second are produced meanwhile
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Runs with a mutant that has to be found: `store-ahead`, `checkpoint-ahead` or `commit-ahead`
    #[arg(long)]
    mutant: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Internal {
    /// The process that is killed
    #[command(hide = true)]
    Child(child::ChildArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Internal::Child(args)) = &args.command {
        return child::run(args);
    }
    let Some(broker) = goka_test_support::kafka::another(&[]) else {
        return ExitCode::from(NO_KAFKA);
    };
    match harness::run(&broker, &args.plan) {
        Ok(findings) if findings.is_empty() => {
            println!("nothing is wrong");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            for finding in findings.iter().take(10) {
                println!("{}: {}", finding.oracle.name(), finding.what);
            }
            println!("{} findings", findings.len());
            ExitCode::from(FINDINGS)
        }
        Err(error) => {
            eprintln!("the harness failed: {error}");
            ExitCode::from(FAILED)
        }
    }
}
