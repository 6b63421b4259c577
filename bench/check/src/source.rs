//! The sources of the crates: the same topics and handlers, with processors written in two ways.

use std::fmt::Write;

/// The topics, which all three crates have.
pub(super) fn topics() -> String {
    let mut source = String::from("use goka::prelude::*;\n");
    for (attribute, name, topic, value) in [
        ("stream", "Clicks", "clicks", "String"),
        ("stream", "Alerts", "alerts", "String"),
        ("table", "Plans", "plans", "i64"),
        ("table", "Limits", "limits", "i64"),
    ] {
        write!(
            source,
            "#[{attribute}({topic:?}, key = String, value = {value}, partitions = 8)]\npub struct {name};\n"
        )
        .expect("a String accepts all text");
    }
    source
}

/// The body of a handler, the same in both crates.
const BODY: &str = r#" {
    let n = ctx.value()?.unwrap_or(0) + ctx.join(Plans)?.unwrap_or(1);
    ctx.set_value(&n)?;
    if n > ctx.lookup(Limits, "clicks")?.unwrap_or(100) {
        ctx.emit(Alerts, ctx.key(), &value)?;
    }
    Ok(())
}
"#;

/// Processors of five edges, written with the macros.
pub(super) fn by_macros(processors: usize) -> String {
    let mut source = topics();
    for at in 0..processors {
        write!(
            source,
            r#"
#[processor(group = "group-{at}", persist = i64)]
#[input(Clicks)]
#[output(Alerts)]
#[join(Plans)]
#[lookup(Limits)]
pub fn counter_{at}(ctx: &mut Context, value: String) -> Result<()>{BODY}"#
        )
        .expect("a String accepts all text");
    }
    source
}

/// The same processors written by hand. Contexts are made by the hidden function that the macros use.
pub(super) fn by_hand(processors: usize) -> String {
    let mut source = topics();
    source.push_str(
        "
use goka::dispatch::{Call, RawRecord, ProcessorState};
use goka::HandlerError;
use goka::graph::{Definition, Edge, EdgeKind, GroupGraph, Location, Start, TopicKind};
use goka::{CodecOf, Emits, Joins, LooksUp, Murmur2, Persists, Processor, Table, Topic};

const fn here(line: u32) -> Location {
    Location { file: file!(), line, column: 1 }
}
",
    );
    for at in 0..processors {
        write!(
            source,
            r#"
pub struct Counter{at};
pub fn counter_{at}(ctx: &mut Context<'_, Counter{at}>, value: String) -> Result<()>{BODY}
fn call_{at}<'r>(_: &'r ProcessorState, raw: RawRecord<'r>) -> std::result::Result<(), HandlerError> {{
    let handler_input = goka::__private::handler_input::<Counter{at}, String, String>(Clicks::CODEC);
    let (mut ctx, value) = handler_input.enter(raw)?;
    counter_{at}(&mut ctx, value)
}}
impl Processor for Counter{at} {{
    type Key = String;
    type Partitioner = Murmur2;
    const DEFINITION: &'static Definition = &Definition {{
        graph: GroupGraph {{
            name: "Counter{at}",
            group: "group-{at}",
            location: here(line!()),
            guarantee: Guarantee::AtLeastOnce,
            edges: &[
                Edge {{
                    kind: EdgeKind::Input {{
                        call: Call::Sync(call_{at}),
                        tombstones: false,
                        start: Start::Earliest,
                    }},
                    topic: Clicks::SPEC,
                    location: here(line!()),
                }},
                Edge {{ kind: EdgeKind::Output, topic: Alerts::SPEC, location: here(line!()) }},
                Edge {{ kind: EdgeKind::Join, topic: Plans::SPEC, location: here(line!()) }},
                Edge {{ kind: EdgeKind::Lookup, topic: Limits::SPEC, location: here(line!()) }},
                Edge {{ kind: EdgeKind::Table, topic: Counter{at}::SPEC, location: here(line!()) }},
            ],
        }},
        make: Some(|| Box::new(())),
        type_id: || std::any::TypeId::of::<Counter{at}>(),
    }};
}}
impl Topic for Counter{at} {{
    type Key = String;
    type Value = i64;
    type Partitioner = Murmur2;
    const NAME: &'static str = "group-{at}-state";
    const CODEC: CodecOf<i64> = CodecOf::new::<i64>();
    const PARTITIONS: Option<i32> = Clicks::PARTITIONS;
    const KIND: TopicKind = TopicKind::GroupTable;
}}
impl Table for Counter{at} {{}}
impl Persists<i64> for Counter{at} {{ type Table = Self; }}
impl Emits<Alerts> for Counter{at} {{}}
impl Joins<Plans> for Counter{at} {{}}
impl LooksUp<Limits> for Counter{at} {{}}
"#
        )
        .expect("a String accepts all text");
    }
    source
}
