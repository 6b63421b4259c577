//! Measures how fast a processor counts by key on a real Kafka, compared with rdkafka alone and a hash map
//! (the floor). The README says what is measured, and has results.
//!
//! ```text
//! cargo run --release -p goka-bench-count -- [--records N] [--keys N,N] [--runs N] [--barrier-ms N,N]
//! cargo run --release -p goka-bench-count -- --profile [--only count-alo]
//! cargo run --release -p goka-bench-count -- --latency
//! ```

mod count;
mod input;
mod latency;
mod profile;
mod report;

#[cfg(test)]
mod tests;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use goka::{Processor, Topic};
use goka_bench_floor::Result;
use goka_runtime::record::Guarantee;

use count::{Count, Numbers, Setting, TestBed, Timings};
use goka_test_support::kafka::another;
use input::Input;
use latency::Pace;
use report::Figures;

/// Counts by key on a real Kafka, with goka and with rdkafka alone.
#[derive(Debug, Parser)]
struct Options {
    /// Records to count.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// How many keys they have; several numbers with commas between.
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    keys: Vec<u64>,
    /// Partitions of the input.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Milliseconds between commits; several numbers with commas between.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    barrier_ms: Vec<u64>,
    /// Milliseconds between flushes of the table.
    #[arg(long, default_value_t = 5_000)]
    flush_ms: u64,
    /// Runs that count, after one that does not.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The seed of the keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to run, with commas between.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "floor-alo,count-alo,floor-eos,count-eos"
    )]
    only: Vec<Variant>,
    /// Runs each once and prints a profile; needs `perf`.
    #[arg(long)]
    profile: bool,
    /// Measures the latency of outputs instead.
    #[arg(long)]
    latency: bool,
    /// Records a second, for `--latency`.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Seconds, for `--latency`.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

/// The floor or the processor, with its guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Variant {
    FloorAlo,
    CountAlo,
    FloorEos,
    CountEos,
}

impl Variant {
    fn guarantee(self) -> Guarantee {
        match self {
            Variant::FloorAlo | Variant::CountAlo => Guarantee::AtLeastOnce,
            Variant::FloorEos | Variant::CountEos => Guarantee::ExactlyOnce,
        }
    }

    fn run(self, bed: &TestBed, setting: Setting) -> Result<Timings> {
        let setting = Setting {
            guarantee: self.guarantee(),
            ..setting
        };
        if matches!(self, Variant::FloorAlo | Variant::FloorEos) {
            return Ok(bed.floor(setting)?.0);
        }
        let took = bed.count(setting);
        let group = Count::DEFINITION.graph.group;
        bed.forget(group, &[&format!("{group}-state")])?;
        took
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Variant::FloorAlo => "floor, at least once",
            Variant::CountAlo => "count, at least once",
            Variant::FloorEos => "floor, exactly once",
            Variant::CountEos => "count, exactly once",
        })
    }
}

/// The results of the runs of one variant.
struct Runs {
    variant: Variant,
    /// Thousand records a second.
    rate: Figures,
    /// Seconds of processor time for a million records.
    cpu: Figures,
    /// Seconds from the last commit to the end.
    ending: Figures,
    /// Why it failed, if it did.
    failed: Option<String>,
}

impl Runs {
    fn new(variant: Variant) -> Self {
        Self {
            variant,
            rate: Figures::default(),
            cpu: Figures::default(),
            ending: Figures::default(),
            failed: None,
        }
    }

    fn add(&mut self, took: Timings, records: u64) {
        let records = records as f64;
        self.rate.push(records / took.counting.as_secs_f64() / 1e3);
        self.cpu.push(took.cpu.as_secs_f64() / records * 1e6);
        self.ending.push(took.ending.as_secs_f64());
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.latency {
        latencies(&options)
    } else {
        options
            .keys
            .iter()
            .map(|keys| counts(&options, *keys))
            .try_fold(true, |all, one| Ok(all && one?))
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts a Kafka for one input, so that the next input is counted on an empty one.
fn test_bed() -> Result<TestBed> {
    let broker = another(&[]).ok_or("no Kafka to measure with")?;
    TestBed::new(broker)
}

/// Runs all variants on one input; returns whether all of them succeeded.
fn counts(options: &Options, keys: u64) -> Result<bool> {
    let bed = test_bed()?;
    let name = Numbers::NAME;
    bed.broker.create_topic(name, options.partitions, &[]);
    let input = Input {
        records: options.records,
        keys,
        seed: options.seed,
    };
    input.load(&bed.broker.bootstrap(), name)?;
    let mut all = true;
    for barrier in &options.barrier_ms {
        let setting = Setting {
            records: options.records,
            partitions: options.partitions,
            barrier: Duration::from_millis(*barrier),
            flush: Duration::from_millis(options.flush_ms),
            guarantee: Guarantee::AtLeastOnce,
        };
        println!(
            "{} records, {keys} keys, {} partitions, a commit every {barrier} ms",
            options.records, options.partitions
        );
        if options.profile {
            profiles(options, &bed, setting)?;
        } else {
            let runs = measure(options, &bed, setting);
            print(&runs);
            all &= runs.iter().all(|runs| runs.failed.is_none());
        }
    }
    Ok(all)
}

/// Runs the variants in turn, so that a busy moment of the machine affects all of them. A variant that fails
/// is left out from then on.
fn measure(options: &Options, bed: &TestBed, setting: Setting) -> Vec<Runs> {
    let mut all: Vec<_> = options
        .only
        .iter()
        .map(|variant| Runs::new(*variant))
        .collect();
    for run in 0..=options.runs {
        for runs in all.iter_mut().filter(|runs| runs.failed.is_none()) {
            match runs.variant.run(bed, setting) {
                // The first run warms the broker up, and does not count.
                Ok(took) if run > 0 => runs.add(took, setting.records),
                Ok(_) => {}
                Err(error) => runs.failed = Some(error.to_string()),
            }
        }
    }
    all
}

fn print(all: &[Runs]) {
    println!(
        "{:<22}{:<28}{:<28}seconds from the last commit to the end",
        "", "thousand records/s", "CPU-s per million"
    );
    for runs in all {
        match &runs.failed {
            None => println!(
                "{:<22}{:<28.0}{:<28.2}{:.2}",
                runs.variant, runs.rate, runs.cpu, runs.ending
            ),
            Some(why) => println!("{:<22}not measured: {why}", runs.variant),
        }
    }
    let ran = |variant: Variant| {
        all.iter()
            .find(|runs| runs.variant == variant && runs.failed.is_none())
    };
    for (what, a, b) in [
        (
            "count / floor, at least once",
            Variant::CountAlo,
            Variant::FloorAlo,
        ),
        (
            "count / floor, exactly once",
            Variant::CountEos,
            Variant::FloorEos,
        ),
        (
            "count, exactly / at least once",
            Variant::CountEos,
            Variant::CountAlo,
        ),
        (
            "floor, exactly / at least once",
            Variant::FloorEos,
            Variant::FloorAlo,
        ),
    ] {
        if let (Some(a), Some(b)) = (ran(a), ran(b)) {
            let (rate, cpu) = (a.rate.over(&b.rate), a.cpu.over(&b.cpu));
            println!("{what:<32}{rate:<24}of the CPU {cpu}");
        }
    }
    println!();
}

fn profiles(options: &Options, bed: &TestBed, setting: Setting) -> Result<()> {
    for variant in &options.only {
        variant.run(bed, setting)?;
        let recording = profile::Recording::start()?;
        let took = variant.run(bed, setting);
        let profile = recording.end()?;
        let mut runs = Runs::new(*variant);
        runs.add(took?, setting.records);
        println!("{variant}: {:.0} thousand records/s", runs.rate);
        println!("{profile}");
    }
    Ok(())
}

fn latencies(options: &Options) -> Result<bool> {
    let bed = test_bed()?;
    let pace = Pace {
        rate: options.rate,
        lasts: Duration::from_secs(options.seconds),
    };
    println!(
        "milliseconds from the timestamp of an input until a reader has its output, at {} records/s",
        pace.rate
    );
    let mut all = true;
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        for barrier in &options.barrier_ms {
            let setting = Setting {
                records: 0,
                partitions: options.partitions,
                barrier: Duration::from_millis(*barrier),
                flush: Duration::from_millis(options.flush_ms),
                guarantee,
            };
            let what = format!("{guarantee}, a commit every {barrier} ms");
            match bed.latency(setting, pace) {
                Ok(ages) => {
                    let at = |percent| ages.percentile(percent).unwrap_or(f64::NAN);
                    let (median, p99, longest) = (at(50), at(99), at(100));
                    println!("{what:<42}median {median:.0}, 99% {p99:.0}, longest {longest:.0}");
                }
                Err(error) => {
                    println!("{what:<42}not measured: {error}");
                    all = false;
                    break;
                }
            }
        }
    }
    Ok(all)
}
