//! Generated mistakes: the first line of every error names only types and modules that the user knows.
//!
//! Valid programs are damaged: one token is removed, doubled, exchanged with its neighbour, misspelt or
//! replaced. All damaged programs are modules of one crate, so that a few compilations are enough: a module
//! with an error is checked and removed, and the next compilation shows the errors of later phases of the
//! compiler (types after names, constants after types). A word in backticks is foreign if it is a type (it
//! begins with a capital) or part of a path, and is neither in the program nor named after its functions,
//! nor in the preludes of goka and Rust.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The test fails if fewer programs are refused; it was 616 of 640.
const LEAST_REFUSED: usize = 600;

/// The number of damaged programs, of which some are still valid. `GOKA_MISTAKES=n` sets another number.
const DAMAGED: usize = 640;

const PROGRAMS: &[&str] = &[
    r#"
#[processor(group = "click-count", persist = i64)]
#[input(UserClicks)]
#[output(Alerts)]
pub fn click_count(ctx: &mut Context, click: String) -> Result<()> {
    let n = ctx.value()?.unwrap_or(0) + 1;
    ctx.set_value(&n)?;
    if n % 100 == 0 {
        ctx.emit(Alerts, ctx.key(), &Alert(n))?;
    }
    Ok(())
}
"#,
    r#"
#[processor(group = "by-number", persist = Json<Alert>, key = u64, partitioner = goka::Murmur2)]
#[input(ByNumber, start = earliest)]
#[input("more-numbers")]
#[join(Plans)]
pub fn count_by_number(ctx: &mut Context, n: Option<i64>) -> Result<()> {
    let plan: Option<String> = ctx.join(Plans)?;
    match (n, plan) {
        (Some(n), Some(_)) => ctx.set_value(&Alert(n))?,
        _ => ctx.delete()?,
    }
    Ok(())
}
"#,
    r#"
pub struct Mailbox {
    pub greeting: String,
}

#[processor(group = "mailbox", persist = Json<Vec<String>>)]
#[join(Profiles)]
#[lookup(Plans)]
#[output(Alerts, Numbers)]
impl Mailbox {
    #[input(UserClicks)]
    fn on_message(&self, ctx: &mut Context, message: &str) -> Result<()> {
        let profile: Option<Alert> = ctx.join(Profiles)?;
        let plan: Option<String> = ctx.lookup(Plans, 7)?;
        ctx.loopback(message, &Alert(1))?;
        self.add(ctx, format!("{message} {profile:?} {plan:?}"))
    }

    fn add(&self, ctx: &mut Context, line: String) -> Result<()> {
        let mut lines = ctx.value()?.unwrap_or_default();
        lines.push(line);
        ctx.set_value(&lines)?;
        Ok(())
    }

    #[loopback]
    async fn on_receipt(&self, ctx: &mut Context, receipt: Json<Alert>) -> Result<()> {
        ctx.emit(Numbers, ctx.key(), &receipt.0.0)?;
        Ok(())
    }

    #[visit(name = "clean")]
    fn clean(&self, ctx: &mut Context, most: u64) -> Result<()> {
        if most > 3 {
            ctx.delete()?;
        }
        Ok(())
    }
}
"#,
    r#"
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub total: u64,
}

#[stream("orders", key = u64, value = Json<Order>, partitions = 8, partitioner = goka::Fnv1a)]
pub struct Orders;

#[table("customers", key = u64, value = String, partitions = 8, partitioner = goka::Fnv1a)]
pub struct Customers;

#[processor(group = "totals", persist = u64, on_misplaced = fail, guarantee = "at-least-once")]
#[input(Orders)]
#[join(Customers)]
async fn totals(ctx: &mut Context, order: &Order) -> Result<()> {
    if ctx.join(Customers)?.is_some() {
        let options = Emit::new().header("from", "totals");
        let total = ctx.update(|total| total.unwrap_or(0) + order.total)?;
        std::future::ready((total, options)).await;
    }
    Ok(())
}
"#,
    r#"
#[processor(group = "relay", name = RelayOfBlobs)]
#[input(Blobs)]
#[output(Blobs2)]
#[lookup(Profiles)]
fn relay(ctx: &mut Context, blob: &[u8]) -> Result<()> {
    let found = ctx.lookup(Profiles, "alice")?;
    if found.is_some() {
        ctx.emit_tombstone(Blobs2, "alice")?;
    }
    ctx.emit(Blobs2, ctx.key(), blob)?;
    Ok(())
}

#[stream("blobs-2", value = Vec<u8>)]
struct Blobs2;
"#,
    r#"
#[derive(Debug, Clone, PartialEq, goka::Key)]
pub struct Place(pub String, pub u32);

#[derive(Debug, Clone, goka::Codec)]
pub struct Cents(pub i64);

#[derive(Debug, Clone, Default, Serialize, Deserialize, goka::Schema)]
pub struct Ledger {
    pub lines: Vec<String>,
    #[schema(opaque)]
    pub sum: i64,
}

#[stream("payments", key = Place, value = Cents)]
pub struct Payments;

#[processor(group = "ledgers", persist = Json<Ledger>, key = Place)]
#[input(Payments)]
#[output(Payments)]
fn ledgers(ctx: &mut Context, cents: Cents) -> Result<()> {
    let mut ledger: Ledger = ctx.value()?.unwrap_or_default();
    ledger.sum += cents.0;
    ctx.set_value(&ledger)?;
    ctx.emit(Payments, ctx.key(), &cents)?;
    Ok(())
}
"#,
    r#"
#[derive(Debug, Clone, Copy, PartialEq, goka::Key)]
#[key(ordered)]
pub struct Sensor(pub u32);

#[derive(Debug, Clone, goka::Codec)]
#[codec(Json<Vec<String>>)]
pub struct Notes {
    pub all: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, goka::Schema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reading {
    Missing,
    Measured {
        #[serde(rename = "celsius")]
        degrees: i64,
    },
}

#[table("readings", key = (Sensor, u64), value = Json<Reading>)]
pub struct Readings;

#[processor(group = "notes", persist = Notes, key = (Sensor, u64))]
#[input(Readings)]
fn note(ctx: &mut Context, reading: Option<Reading>) -> Result<()> {
    let mut notes = ctx.value()?.unwrap_or(Notes { all: Vec::new() });
    if let Some(Reading::Measured { degrees }) = reading {
        notes.all.push(degrees.to_string());
    }
    ctx.set_value(&notes)?;
    Ok(())
}
"#,
    r#"
#[derive(Default)]
pub struct Sums;

#[stream("samples", keyless, value = String)]
pub struct Samples;

#[processor(group = "sums", persist = i64, guarantee = "exactly-once")]
#[output(Alerts)]
impl Sums {
    #[input(Samples)]
    fn on_sample(&self, ctx: &mut Context, sample: &str) -> Result<()> {
        let (name, value) = sample.split_once(' ').ok_or("no name")?;
        ctx.loopback(name, value)?;
        Ok(())
    }

    #[input(UserClicks)]
    #[loopback]
    fn add(&self, ctx: &mut Context, value: String) -> Result<()> {
        ctx.update(|sum| sum.unwrap_or(0) + 1)?;
        ctx.emit(Alerts, ctx.key(), &Alert(1))?;
        Ok(())
    }
}
"#,
];

/// Words that replace others.
const REPLACEMENTS: &[&str] = &[
    "Plain",
    "Alerts",
    "Profiles",
    "String",
    "i64",
    "u64",
    "bool",
    "\"text\"",
    "\"a b\"",
    "7",
    "nothing",
    "Unknown",
    "value",
    "group",
    "persist",
    "input",
    "Option<Plain>",
    "Json<Plain>",
    "&str",
    "()",
];

const PRELUDE: &[&str] = &[
    // goka's
    "goka",
    "Be",
    "Context",
    "Emit",
    "Emitter",
    "ExitCode",
    "Json",
    "Result",
    "Service",
    "View",
    // Rust's
    "Self",
    "Option",
    "Some",
    "None",
    "Ok",
    "Err",
    "String",
    "Vec",
    "Box",
    "Copy",
    "Clone",
    "Default",
    "Debug",
    "Display",
    "Send",
    "Sync",
    "Sized",
    "Drop",
    "Fn",
    "FnMut",
    "FnOnce",
    "Iterator",
    "ToString",
    // the error of a context's methods, which rustc names
    "ContextError",
    // named by rustc in errors about `?` and `..`
    "Try",
    "FromResidual",
    "Range",
];

/// A generator of numbers (xorshift): the same ones in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("it is below a usize")
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Words, texts in quotes, and every other sign by itself; spaces belong to what is before them.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut letters = source.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut token = String::from(letter);
        if is_word(letter) {
            while let Some(next) = letters.next_if(|next| is_word(*next)) {
                token.push(next);
            }
        } else if letter == '"' {
            token.extend(letters.by_ref().take_while(|next| *next != '"'));
            token.push('"');
        }
        match tokens.last_mut() {
            Some(before) if letter.is_whitespace() => before.push(letter),
            _ => tokens.push(token),
        }
    }
    tokens
}

/// Whether a token may be damaged. Parentheses may not, since the compiler would not read what follows.
fn can_be_damaged(token: &str) -> bool {
    !token.starts_with(['(', ')', '[', ']', '{', '}', '<', '>'])
}

fn damaged(source: &str, random: &mut Random) -> String {
    let mut tokens = tokens(source);
    let places: Vec<_> = (0..tokens.len())
        .filter(|at| can_be_damaged(&tokens[*at]))
        .collect();
    // Attributes and signatures are a third of a program, and the subject of this test.
    let line_of = |at: usize| {
        let before: String = tokens[..at].concat();
        let line = before.rsplit('\n').next().unwrap_or_default();
        line.trim_start()
            .starts_with(['#', 'f', 'p', 'a', 'i', 's'])
    };
    let at = loop {
        let at = places[random.below(places.len())];
        if line_of(at) || random.below(3) == 0 {
            break at;
        }
    };
    let blank = |token: &str| token[token.trim_end().len()..].to_owned();
    match random.below(8) {
        0 | 1 => {
            tokens.remove(at);
        }
        2 => tokens.insert(at, tokens[at].clone()),
        3 => {
            let other = places[random.below(places.len())];
            tokens.swap(at, other);
        }
        4 if tokens[at].trim_end().len() > 2 => {
            let letters: String = tokens[at].chars().skip(1).collect();
            tokens[at] = letters;
        }
        _ => {
            let after = blank(&tokens[at]);
            tokens[at] = format!("{}{after}", REPLACEMENTS[random.below(REPLACEMENTS.len())]);
        }
    }
    tokens.concat()
}

/// A program as a module of its own.
fn program(damaged: &str) -> String {
    format!(
        "use crate::topics::*;\nuse goka::prelude::*;\nuse serde::{{Deserialize, Serialize}};\n{damaged}"
    )
}

#[derive(Debug)]
struct Error {
    /// The module's file, `m7.rs`; `None` for an error of no module.
    file: Option<String>,
    message: String,
}

fn root_file(span: &serde_json::Value) -> String {
    match span["expansion"]["span"] {
        serde_json::Value::Null => span["file_name"].as_str().unwrap_or_default().to_owned(),
        ref outer => root_file(outer),
    }
}

fn errors(krate: &Path, target: &Path) -> Vec<Error> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--message-format=json"])
        .current_dir(krate)
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let mut errors = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let message = &line["message"];
        let text = message["message"].as_str().unwrap_or_default();
        // Warnings, and the count of errors at the end.
        if message["level"] != "error" || text.starts_with("aborting due to") {
            continue;
        }
        let spans = message["spans"].as_array().into_iter().flatten();
        let mut files: Vec<_> = spans
            .map(|span| (span["is_primary"] != true, root_file(span)))
            .collect();
        files.sort();
        let file = files.into_iter().find_map(|(_, file)| {
            let name = file.strip_prefix("src/")?;
            name.starts_with('m').then(|| name.to_owned())
        });
        errors.push(Error {
            file,
            message: text.lines().next().unwrap_or_default().to_owned(),
        });
    }
    if errors.is_empty() {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    errors
}

/// The words of a source, and the names that processors get from its functions.
fn words(source: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for word in source.split(|letter| !is_word(letter)) {
        let camel = word.split('_').map(|part| {
            let mut letters = part.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        });
        words.insert(camel.collect());
        words.insert(word.to_owned());
    }
    words
}

/// Types and modules in the backticks of a message that are not among the words.
fn foreign(message: &str, words: &BTreeSet<String>) -> Vec<String> {
    let mut foreign = Vec::new();
    for quoted in message.split('`').skip(1).step_by(2) {
        for path in quoted.split(|letter| !is_word(letter) && letter != ':') {
            let mut names: Vec<_> = path.split(':').filter(|name| !name.is_empty()).collect();
            // Rust's own types may have paths.
            let name = names.pop().unwrap_or_default();
            if matches!(names.first(), Some(&("std" | "core" | "alloc"))) {
                names.clear();
            }
            let known = |name: &str| words.contains(name) || PRELUDE.contains(&name);
            let is_type = name.starts_with(|letter: char| letter.is_ascii_uppercase())
                // `T` of `Option<T>`.
                && name.len() > 1;
            let is_path = !names.is_empty();
            if (is_type || is_path) && !known(name) || !names.into_iter().all(known) {
                foreign.push(path.to_owned());
            }
        }
    }
    foreign
}

#[test]
fn errors_of_generated_mistakes_name_only_what_the_user_knows() {
    let target = std::env::current_exe().expect("the test has a path");
    let target = target.ancestors().nth(3).expect("target/<profile>/deps");
    let krate = target.join("mistakes");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    write_crate(&krate, &repository);

    check_undamaged(&krate, &target.join("programs"));

    let topics = fs::read_to_string(repository.join("tests/ui/src/topics.rs")).expect("there");
    let shared = words(&topics);
    let asked = std::env::var("GOKA_MISTAKES").ok();
    let made = asked.map_or(DAMAGED, |made| made.parse().expect("a number"));
    let mut random = Random(0x5EED_0F60_1A50_0001);
    let mut left = BTreeMap::new();
    while left.len() < made {
        let right = PROGRAMS[left.len() % PROGRAMS.len()];
        let source = program(&damaged(right, &mut random));
        left.insert(format!("m{}.rs", left.len()), source);
    }
    for (file, source) in &left {
        fs::write(krate.join("src").join(file), source).expect("written");
    }

    let mut refused = 0;
    let mut offences = Vec::new();
    // Each compilation stops at some phase; the last one has no errors.
    loop {
        write_root(&krate, left.keys());
        let errors = errors(&krate, &target.join("programs"));
        let before = left.len();
        let mut seen = BTreeSet::new();
        for Error { file, message } in errors {
            let Some(file) = file else {
                panic!("an error of no module: {message}");
            };
            let Some(source) = left.get(&file) else {
                panic!("{file} is not there: {message}");
            };
            // The module is the user's crate.
            let mut known: BTreeSet<_> = words(source).union(&shared).cloned().collect();
            known.insert(file.trim_end_matches(".rs").to_owned());
            let foreign = foreign(&message, &known);
            if !foreign.is_empty() {
                offences.push(format!("{file}: {foreign:?} in: {message}"));
            }
            seen.insert(file);
        }
        refused += seen.len();
        left.retain(|file, _| !seen.contains(file));
        if left.len() == before {
            break;
        }
    }
    println!("{refused} of {made} refused, {} compile", left.len());
    assert!(
        offences.is_empty(),
        "{}:\n{}",
        offences.len(),
        offences.join("\n")
    );
    assert!(refused >= LEAST_REFUSED, "{refused} were refused");
}

/// Checks that the programs compile before they are damaged.
fn check_undamaged(krate: &Path, target: &Path) {
    let files: Vec<_> = (0..PROGRAMS.len()).map(|at| format!("m{at}.rs")).collect();
    for (file, right) in files.iter().zip(PROGRAMS) {
        fs::write(krate.join("src").join(file), program(right)).expect("written");
    }
    write_root(krate, &files);
    let errors = errors(krate, target);
    assert!(errors.is_empty(), "{errors:?}");
}

fn write_root<'f>(krate: &Path, files: impl IntoIterator<Item = &'f String>) {
    let modules = files
        .into_iter()
        .map(|file| format!("mod {};\n", file.trim_end_matches(".rs")));
    let modules: String = modules.collect();
    let lib = format!("#![allow(warnings)]\nmod topics;\n{modules}");
    fs::write(krate.join("src/lib.rs"), lib).expect("written");
}

fn write_crate(krate: &Path, repository: &Path) {
    let repository: PathBuf = repository.canonicalize().expect("it is there");
    let _ = fs::remove_dir_all(krate);
    fs::create_dir_all(krate.join("src")).expect("a directory");
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\ngoka = {{ path = {repository:?}, default-features = false, features = [\"cli\"] }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n"
    );
    fs::write(krate.join("Cargo.toml"), manifest).expect("written");
    let lock = repository.join("Cargo.lock");
    fs::copy(lock, krate.join("Cargo.lock")).expect("copied");
    let topics = repository.join("tests/ui/src/topics.rs");
    fs::copy(topics, krate.join("src/topics.rs")).expect("copied");
}
