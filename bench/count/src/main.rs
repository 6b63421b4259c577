//! How fast a processor counts by key on a real Kafka, beside the floor: rdkafka alone with a hash
//! map, in the same run. The README tells what it measures and what came out.
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

use count::{Bed, Count, Numbers, Setting, Took};
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
    only: Vec<Leg>,
    /// Runs each once and prints where its time goes; needs `perf`.
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

/// What counts, and with which guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Leg {
    FloorAlo,
    CountAlo,
    FloorEos,
    CountEos,
}

impl Leg {
    fn guarantee(self) -> Guarantee {
        match self {
            Leg::FloorAlo | Leg::CountAlo => Guarantee::AtLeastOnce,
            Leg::FloorEos | Leg::CountEos => Guarantee::ExactlyOnce,
        }
    }

    fn run(self, bed: &Bed, setting: Setting) -> Result<Took> {
        let setting = Setting {
            guarantee: self.guarantee(),
            ..setting
        };
        if matches!(self, Leg::FloorAlo | Leg::FloorEos) {
            return Ok(bed.floor(setting)?.0);
        }
        let took = bed.count(setting);
        let group = Count::DEFINITION.graph.group;
        bed.forget(group, &[&format!("{group}-state")])?;
        took
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Leg::FloorAlo => "floor, at least once",
            Leg::CountAlo => "count, at least once",
            Leg::FloorEos => "floor, exactly once",
            Leg::CountEos => "count, exactly once",
        })
    }
}

/// The results of the runs of one leg.
struct Runs {
    leg: Leg,
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
    fn new(leg: Leg) -> Self {
        Self {
            leg,
            rate: Figures::default(),
            cpu: Figures::default(),
            ending: Figures::default(),
            failed: None,
        }
    }

    fn add(&mut self, took: Took, records: u64) {
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

/// Starts a Kafka for one input, so that nothing of it is left when the next is counted.
fn bed() -> Result<Bed> {
    let broker = another(&[]).ok_or("no Kafka to measure with")?;
    Bed::new(broker)
}

/// Runs all legs on one input; returns whether all of them succeeded.
fn counts(options: &Options, keys: u64) -> Result<bool> {
    let bed = bed()?;
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

/// Runs the legs in turn, so that a busy moment of the machine affects all of them. A leg that fails is
/// left out from then on.
fn measure(options: &Options, bed: &Bed, setting: Setting) -> Vec<Runs> {
    let mut all: Vec<_> = options.only.iter().map(|leg| Runs::new(*leg)).collect();
    for run in 0..=options.runs {
        for runs in all.iter_mut().filter(|runs| runs.failed.is_none()) {
            match runs.leg.run(bed, setting) {
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
                runs.leg, runs.rate, runs.cpu, runs.ending
            ),
            Some(why) => println!("{:<22}not measured: {why}", runs.leg),
        }
    }
    let ran = |leg: Leg| {
        all.iter()
            .find(|runs| runs.leg == leg && runs.failed.is_none())
    };
    for (what, a, b) in [
        ("count / floor, at least once", Leg::CountAlo, Leg::FloorAlo),
        ("count / floor, exactly once", Leg::CountEos, Leg::FloorEos),
        (
            "count, exactly / at least once",
            Leg::CountEos,
            Leg::CountAlo,
        ),
        (
            "floor, exactly / at least once",
            Leg::FloorEos,
            Leg::FloorAlo,
        ),
    ] {
        if let (Some(a), Some(b)) = (ran(a), ran(b)) {
            let (rate, cpu) = (a.rate.over(&b.rate), a.cpu.over(&b.cpu));
            println!("{what:<32}{rate:<24}of the CPU {cpu}");
        }
    }
    println!();
}

fn profiles(options: &Options, bed: &Bed, setting: Setting) -> Result<()> {
    for leg in &options.only {
        leg.run(bed, setting)?;
        let recording = profile::Recording::start()?;
        let took = leg.run(bed, setting);
        let profile = recording.end()?;
        let mut runs = Runs::new(*leg);
        runs.add(took?, setting.records);
        println!("{leg}: {:.0} thousand records/s", runs.rate);
        println!("{profile}");
    }
    Ok(())
}

fn latencies(options: &Options) -> Result<bool> {
    let bed = bed()?;
    let pace = Pace {
        rate: options.rate,
        lasts: Duration::from_secs(options.seconds),
    };
    println!(
        "from an input's timestamp to its output in a reader's hand, at {} records/s, milliseconds",
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
                    let (half, most, all) = (at(50), at(99), at(100));
                    println!("{what:<42}median {half:.0}, 99% {most:.0}, all {all:.0}");
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
