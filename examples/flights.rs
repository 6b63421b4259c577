//! Delay statistics of airports, from a CSV of real flights: the columns of nycflights13, as in
//! `examples/data/flights.csv`. When all flights are counted, it prints the table and ends.
//!
//! ```text
//! cargo run --example flights -- --file examples/data/flights.csv --data-dir /tmp/flights
//! zcat all-flights.csv.gz | cargo run --example flights -- --data-dir /tmp/all-flights
//! cargo run --example flights -- get airports JFK --data-dir /tmp/flights
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use goka::AppHandle;
use goka::prelude::*;
use serde::{Deserialize, Serialize};

/// An event at an airport; delays are in minutes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    /// A flight left, or was cancelled and has no delay.
    Departure { delay: Option<i64> },
    /// A flight arrived.
    Arrival { delay: i64 },
}

/// Events, keyed by the airport's code.
#[derive(Debug)]
#[stream("airport-events", key = String, value = Json<Event>)]
struct AirportEvents;

/// The statistics of an airport.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Airport {
    /// Flights that were scheduled to leave.
    flights: u64,
    /// Flights that were cancelled.
    cancelled: u64,
    /// Flights that left more than 15 minutes late.
    delayed: u64,
    departure_delay: Delay,
    arrival_delay: Delay,
}

/// Delays in minutes; negative ones are early.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Delay {
    count: u64,
    sum: i64,
    max: Option<i64>,
}

impl Delay {
    fn add(&mut self, minutes: i64) {
        self.count += 1;
        self.sum += minutes;
        self.max = self.max.max(Some(minutes));
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }
}

#[processor(group = "airports", persist = Json<Airport>)]
#[input(AirportEvents)]
fn airports(ctx: &mut Context, event: Event) -> Result<()> {
    let mut airport = ctx.value()?.unwrap_or_default();
    match event {
        Event::Departure { delay: None } => {
            airport.flights += 1;
            airport.cancelled += 1;
        }
        Event::Departure {
            delay: Some(minutes),
        } => {
            airport.flights += 1;
            airport.delayed += u64::from(minutes > 15);
            airport.departure_delay.add(minutes);
        }
        Event::Arrival { delay: minutes } => airport.arrival_delay.add(minutes),
    }
    ctx.set_value(&airport)?;
    Ok(())
}

/// The columns that are used; `NA` is an unknown value.
#[derive(Debug, Deserialize)]
struct Row {
    dep_time: String,
    dep_delay: String,
    arr_delay: String,
    origin: String,
    dest: String,
}

fn minutes(cell: &str) -> Result<Option<i64>> {
    match cell {
        "NA" | "" => Ok(None),
        known => Ok(Some(known.parse()?)),
    }
}

/// Emits two events for each flight, then waits until they are counted.
fn feed(app: &AppHandle) -> Result<()> {
    let input: Box<dyn Read> = match app.option("file") {
        Some(path) => Box::new(File::open(path).map_err(|error| format!("{path}: {error}"))?),
        None => Box::new(std::io::stdin()),
    };
    let events = app.emitter::<AirportEvents>()?;
    let mut flights = 0u64;
    for row in csv::Reader::from_reader(input).deserialize() {
        let row: Row = row?;
        let cancelled = minutes(&row.dep_time)?.is_none();
        let delay = if cancelled {
            None
        } else {
            minutes(&row.dep_delay)?
        };
        events.emit(row.origin.as_str(), &Event::Departure { delay })?;
        // A flight that was cancelled or diverted has no arrival.
        if let Some(delay) = minutes(&row.arr_delay)? {
            events.emit(row.dest.as_str(), &Event::Arrival { delay })?;
        }
        flights += 1;
        if app.is_stopping() {
            return Ok(());
        }
    }
    events.close(Duration::from_secs(60))?;
    app.wait_processed(Duration::from_secs(600))?;
    print(app, flights)?;
    app.stop();
    Ok(())
}

fn print(app: &AppHandle, flights: u64) -> Result<()> {
    let airports = app.view::<Airports>()?;
    airports.wait_level(Duration::from_secs(60))?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "airport  flights cancelled  >15min  mean departure (max)    mean arrival (max)"
    )?;
    for entry in airports.iter()? {
        let (code, airport) = entry?;
        let shown = |delay: &Delay| match delay.max {
            Some(max) => format!("{:>8.1} min ({max:>5})", delay.mean()),
            None => format!("{:>20}", "-"),
        };
        writeln!(
            out,
            "{code:<7} {:>8} {:>9} {:>7}  {}  {}",
            airport.flights,
            airport.cancelled,
            airport.delayed,
            shown(&airport.departure_delay),
            shown(&airport.arrival_delay)
        )?;
    }
    writeln!(out, "{flights} flights read")?;
    Ok(())
}

fn main() -> ExitCode {
    Service::new()
        .option("file", "PATH", "The CSV to read instead of standard input")
        .background(feed)
        .main()
}
