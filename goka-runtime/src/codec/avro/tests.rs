//! Against a registry that is a few lines on loopback, and vectors of Avro's Java library.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::{Avro, Codec, Record, Registry};

/// The second schema of the vectors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ride {
    id: i64,
    driver: String,
    stops: Vec<f64>,
}

impl Record for Ride {
    const SCHEMA: &'static str = r#"{"type":"record","name":"Ride","namespace":"taxi","fields":[
        {"name":"id","type":"long"},{"name":"driver","type":"string"},
        {"name":"stops","type":{"type":"array","items":"double"},"default":[]}]}"#;
}

/// Without a field that the readers of [`Ride`] need.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fare {
    cents: i64,
}

impl Record for Fare {
    const SCHEMA: &'static str =
        r#"{"type":"record","name":"Fare","fields":[{"name":"cents","type":"long"}]}"#;
    const SUBJECT: Option<&'static str> = Some("fares-value");
}

/// The schemas of a registry, and the requests that it got.
#[derive(Default)]
struct State {
    schemas: HashMap<u32, String>,
    asked: Vec<String>,
}

/// Answers in the registry's manner: `GET /schemas/ids/7`, `POST /subjects/s/versions`.
fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a request");
    let request = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("a header");
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let mut state = state.lock().expect("no thread panicked");
    let path = request.split('?').next().unwrap_or_default();
    let id = path.strip_prefix("GET /schemas/ids/");
    let (status, answer) = if let Some(id) = id {
        match id.parse().ok().and_then(|id: u32| state.schemas.get(&id)) {
            Some(schema) => ("200 OK", serde_json::json!({ "schema": schema })),
            None => (
                "404 Not Found",
                serde_json::json!({ "error_code": 40403, "message": "Schema not found" }),
            ),
        }
    } else {
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let schema = body["schema"].as_str().expect("a schema").to_owned();
        let id = 100 + u32::try_from(state.schemas.len()).expect("few");
        state.schemas.insert(id, schema);
        ("200 OK", serde_json::json!({ "id": id }))
    };
    state.asked.push(path.to_owned());
    let answer = answer.to_string();
    let mut stream = reader.into_inner();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/vnd.schemaregistry.v1+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).expect("it is read");
    stream.write_all(answer.as_bytes()).expect("it is read");
}

fn start() -> (String, Arc<Mutex<State>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let state = Arc::new(Mutex::new(State::default()));
    let served = state.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.expect("a connection"), &served);
        }
    });
    (url, state)
}

/// One test, because there is one registry in a process.
#[test]
fn records_have_the_wire_format() {
    let error = Avro::<Ride>::decode(b"\0\0\0\0\x11").expect_err("there is no registry");
    assert!(
        error.to_string().contains("GOKA_SCHEMA_REGISTRY"),
        "{error}"
    );

    let (url, state) = start();
    Registry::new(&url).install();
    vectors(&state);
    assert_eq!(
        state.lock().expect("no thread panicked").asked,
        ["GET /schemas/ids/17", "GET /schemas/ids/16909060"],
        "each schema is asked for once"
    );
    written(&state);
    refusals();
}

/// What Java wrote, under the reader's schema and under an older one.
fn vectors(state: &Mutex<State>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/avro.tsv");
    let text = std::fs::read_to_string(&path).expect("the vectors");
    let mut rows = 0;
    for line in text.lines().skip(1) {
        let [id, schema, bytes, ride, driver, stops] = line.split('\t').collect::<Vec<_>>()[..]
            .try_into()
            .expect("six columns");
        let id: u32 = id.parse().expect("an id");
        let mut known = state.lock().expect("no thread panicked");
        known.schemas.insert(id, schema.to_owned());
        drop(known);
        let expected = Ride {
            id: ride.parse().expect("a number"),
            driver: String::from_utf8(unhex(driver)).expect("text"),
            stops: unhex(stops)
                .chunks(8)
                .map(|bytes| f64::from_be_bytes(bytes.try_into().expect("eight")))
                .collect(),
        };
        let bytes = unhex(bytes);
        assert_eq!(Avro::<Ride>::decode(&bytes), Ok(expected), "{line}");
        rows += 1;
    }
    assert_eq!(rows, 12);
}

/// Ours are Java's but for the id.
fn written(state: &Mutex<State>) {
    let ride = Ride {
        id: -1,
        driver: "alice".to_owned(),
        stops: vec![0.5, -1e300],
    };
    let mut bytes = Vec::new();
    Avro::<Ride>::encode(&ride, &mut bytes).expect("it encodes");
    let java = unhex("010a616c69636504000000000000e03f9c7500883ce437fe00");
    assert_eq!((bytes[0], &bytes[5..]), (0, &java[..]));
    let text = Avro::<Ride>::show(&bytes).expect("it decodes");
    assert_eq!(text, r#"{"id":-1,"driver":"alice","stops":[0.5,-1e+300]}"#);
    assert_eq!(Avro::<Ride>::parse(&text).as_ref(), Ok(&bytes));
    let mut fare = Vec::new();
    Avro::<Fare>::encode(&Fare { cents: 250 }, &mut fare).expect("it encodes");
    let asked = &state.lock().expect("no thread panicked").asked[2..];
    assert_eq!(
        asked,
        [
            "POST /subjects/taxi.Ride/versions",
            "GET /schemas/ids/102",
            "POST /subjects/fares-value/versions"
        ]
    );
}

fn refusals() {
    for (bytes, reason) in [
        (&b""[..], "does not begin with a zero byte"),
        (b"\x01\0\0\0\x11\0\0", "does not begin with a zero byte"),
        (b"\0\0\0\0\x12\0\0", "schema registry http://127.0.0.1:"),
        (b"\0\0\0\0\x11\0\0\0", "1 bytes too many"),
        (b"\0\0\0\0\x67\0", "Missing field in record"),
    ] {
        let error = Avro::<Ride>::decode(bytes)
            .expect_err("it is wrong")
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("digits")
    };
    digits.chunks(2).map(byte).collect()
}
