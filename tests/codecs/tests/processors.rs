//! A processor that reads Avro records and keeps Protocol Buffers messages, on the embedded log, with a
//! minimal schema registry on loopback.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goka::avro::{Avro, Record, Registry};
use goka::prelude::*;
use goka::{Processor, Proto};
use goka_runtime::log::Log;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::processor::{ProcessorOptions, start};
use goka_runtime::table::memory::MemoryStores;
use serde::{Deserialize, Serialize};

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ride {
    driver: String,
    cents: i64,
}

impl Record for Ride {
    const SCHEMA: &'static str = r#"{"type":"record","name":"Ride","fields":[
        {"name":"driver","type":"string"},{"name":"cents","type":"long"}]}"#;
    const SUBJECT: Option<&'static str> = Some("codecs-rides-value");
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Earned {
    #[prost(int64, tag = "1")]
    cents: i64,
    #[prost(uint32, tag = "2")]
    rides: u32,
}

#[stream("codecs-rides", key = String, value = Avro<Ride>)]
#[derive(Debug)]
pub struct Rides;

#[processor(group = "codecs-earned", name = Earnings, persist = Proto<Earned>)]
#[input(Rides)]
fn earned(ctx: &mut Context, ride: Ride) -> Result<()> {
    let mut earned = ctx.value()?.unwrap_or_default();
    earned.cents += ride.cents;
    earned.rides += 1;
    ctx.set_value(&earned)?;
    Ok(())
}

/// Answers a request as a schema registry with one schema, under id 1.
fn answer(stream: TcpStream, schema: &Mutex<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut schema = schema.lock().unwrap();
    let answer = if request.starts_with("POST ") {
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        *schema = body["schema"].as_str().unwrap().to_owned();
        serde_json::json!({ "id": 1, "subject": "codecs-rides-value", "version": 1, "schema": *schema })
    } else {
        serde_json::json!({ "schema": *schema })
    };
    let answer = answer.to_string();
    write!(
        reader.into_inner(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{answer}",
        answer.len()
    )
}

#[test]
fn avro_records_are_read_and_protobuf_messages_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Registry::new(&format!("http://{}", listener.local_addr().unwrap())).install();
    std::thread::spawn(move || {
        let schema = Mutex::new(String::new());
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &schema);
        }
    });
    let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
    let (shared, stores) = (Arc::new(Earnings), Arc::new(MemoryStores::default()));
    let running = start(
        <Earnings as Processor>::DEFINITION,
        shared,
        Arc::clone(&log),
        stores,
        &ProcessorOptions::default(),
    )
    .unwrap();
    let rides = Emitter::<Rides>::new(Arc::clone(&log)).unwrap();
    for (driver, cents) in [("ada", 700), ("bob", 900), ("ada", 50)] {
        let ride = Ride {
            driver: driver.to_owned(),
            cents,
        };
        let _ack = rides.emit(driver, &ride).unwrap();
    }
    rides.close(TIMEOUT).unwrap();
    let view = View::<Earnings>::start(log, Arc::new(MemoryStores::default())).unwrap();
    view.wait_ready(TIMEOUT).unwrap();
    let deadline = std::time::Instant::now() + TIMEOUT;
    let wanted = Some(Earned {
        cents: 750,
        rides: 2,
    });
    while view.get("ada").unwrap() != wanted || view.get("bob").unwrap().is_none() {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            view.get("ada")
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    running.stop();
    running.join().unwrap();
}
