//! The example `flights` against a direct computation over the same file.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::program::{Program, data_dir, entries, repository};

#[derive(Default)]
struct Direct {
    flights: u64,
    cancelled: u64,
    delayed: u64,
    departures: Vec<i64>,
    arrivals: Vec<i64>,
}

/// The number of flights, and the statistics of each airport, computed from the columns.
fn direct() -> (usize, BTreeMap<String, Value>) {
    let text = std::fs::read_to_string(repository("examples/data/flights.csv")).expect("shipped");
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().expect("a header").split(',').collect();
    let at = |name: &str| {
        header
            .iter()
            .position(|column| *column == name)
            .expect(name)
    };
    let mut airports = BTreeMap::<String, Direct>::new();
    let mut rows = 0;
    for line in lines {
        rows += 1;
        let cells: Vec<_> = line.split(',').collect();
        let number = |name: &str| cells[at(name)].parse::<i64>().ok();
        let origin = airports.entry(cells[at("origin")].to_owned()).or_default();
        origin.flights += 1;
        if number("dep_time").is_none() {
            origin.cancelled += 1;
            continue;
        }
        if let Some(delay) = number("dep_delay") {
            origin.delayed += u64::from(delay > 15);
            origin.departures.push(delay);
        }
        if let Some(delay) = number("arr_delay") {
            let dest = airports.entry(cells[at("dest")].to_owned()).or_default();
            dest.arrivals.push(delay);
        }
    }
    let delay = |minutes: &[i64]| {
        json!({
            "count": minutes.len(),
            "sum": minutes.iter().sum::<i64>(),
            "max": minutes.iter().max(),
        })
    };
    let tables = airports
        .into_iter()
        .map(|(code, airport)| {
            let value = json!({
                "flights": airport.flights,
                "cancelled": airport.cancelled,
                "delayed": airport.delayed,
                "departure_delay": delay(&airport.departures),
                "arrival_delay": delay(&airport.arrivals),
            });
            (code, value)
        })
        .collect();
    (rows, tables)
}

#[test]
fn the_statistics_are_those_of_a_direct_computation() {
    let (rows, expected) = direct();
    assert!(
        rows > 5_000 && expected.len() > 100,
        "{rows} rows, {} airports",
        expected.len()
    );
    let csv = repository("examples/data/flights.csv");
    let input = std::fs::read_to_string(&csv).expect("shipped");
    for from_stdin in [true, false] {
        let (_temp, dir) = data_dir();
        let flights = Program::new("flights", dir);
        let output = if from_stdin {
            flights.run_with(&input, Vec::<&str>::new())
        } else {
            flights.run(["--file".as_ref(), csv.as_os_str()])
        };
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(
            output.out.ends_with(&format!("{rows} flights read\n")),
            "{}",
            output.out
        );
        let table = flights.run(["scan", "airports"]);
        let found: BTreeMap<String, Value> = entries(&table.out)
            .into_iter()
            .map(|(code, value)| (code, serde_json::from_str(&value).expect("JSON")))
            .collect();
        assert_eq!(found, expected, "from stdin: {from_stdin}");
    }
}

#[test]
fn a_missing_or_invalid_file_is_one_error() {
    let (_temp, dir) = data_dir();
    let flights = Program::new("flights", dir);
    let output = flights.run(["--file", "nowhere.csv"]);
    assert_eq!(output.code, Some(2));
    assert!(output.error().contains("nowhere.csv"), "{output:?}");
    let output = flights.run_with("a,b\n1,2\n", Vec::<&str>::new());
    assert_eq!(output.code, Some(2));
    assert!(output.error().contains("missing field"), "{output:?}");
}
