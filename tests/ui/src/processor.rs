//! Processors in every accepted shape.

use goka::prelude::*;
use serde::{Deserialize, Serialize};

use crate::topics::{Alert, Alerts, Blobs, ByNumber, Profiles, UserClicks};

/// The program of the README.
#[processor(group="my-group", persist=i64)]
#[input("user-clicks")]
fn process(ctx: &mut Context, msg: String) -> Result<()> {
    let count = ctx.value()?.unwrap_or(0) + 1;
    ctx.set_value(&count)?;
    let _ = msg;
    Ok(())
}

/// Attributes in any order.
#[output(Alerts)]
#[input(UserClicks)]
#[processor(group = "click-count", persist = i64)]
#[input(Numbers2)]
pub fn click_count(ctx: &mut Context, click: &str) -> Result<()> {
    let n = ctx.update(|n| n.unwrap_or(0) + 1)?;
    if click.is_empty() {
        ctx.delete()?;
    }
    let options = Emit::new().header("from", "click-count").timestamp(3);
    ctx.emit_with(Alerts, ctx.key(), &Alert(n), &options)?;
    ctx.emit_tombstone(Alerts, format!("old-{}", ctx.key()))?;
    Ok(())
}

/// As many partitions as the clicks have.
#[derive(Debug)]
#[stream("numbers-2", value = String, partitions = 4 + 4)]
pub struct Numbers2;

#[processor(group = "undocumented")]
#[input(Blobs, start = earliest)]
pub(crate) fn bytes(ctx: &mut Context, _blob: &[u8]) -> Result<()> {
    let _ = (ctx.group(), ctx.topic(), ctx.partition(), ctx.offset());
    let _ = (ctx.timestamp(), ctx.headers().iter().count());
    Ok(())
}

/// Bytes that the handler owns.
#[processor(group = "owned-bytes", guarantee = "at-least-once", on_misplaced = fail)]
#[input(Blobs)]
pub fn owned_bytes(_: &mut Context, _: Vec<u8>) -> Result<()> {
    Ok(())
}

/// Lifetimes are named where they mean nothing else.
#[processor(group = "named-lifetimes")]
#[input(UserClicks)]
fn lifetimes<'a>(ctx: &'a mut Context<'_>, click: Option<&'a str>) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

#[processor(group = "raw-identifier")]
#[input(Blobs)]
fn r#match(_ctx: &mut Context, r#type: Option<&[u8]>) -> Result<()> {
    let _ = r#type;
    Ok(())
}

/// A bare value of a JSON stream, its own error, and the table's value in JSON.
#[processor(group = "json", persist = Json<Alert>, name = JsonShapes, guarantee = "exactly-once")]
#[input(Alerts)]
pub fn json_bare(ctx: &mut Context, alert: Alert) -> Result<(), std::io::Error> {
    let before: Option<Alert> = ctx.value().map_err(std::io::Error::other)?;
    let next = Alert(before.map_or(0, |before| before.0) + alert.0);
    ctx.set_value(&next).map_err(std::io::Error::other)
}

#[processor(group = "json-wrapped", persist = goka::Json<Alert>)]
#[input(Alerts)]
fn json_wrapped(ctx: &mut goka::Context, alert: Json<Alert>) -> goka::Result {
    ctx.set_value(&alert)?;
    ctx.set_value(&alert.0)?;
    Ok(())
}

#[processor(group = "json-ref")]
#[input(Alerts)]
fn json_ref(_: &mut Context, _: &Alert) -> Result<()> {
    Ok(())
}

#[processor(group = "tombstones")]
#[input(Profiles)]
fn tombstones(_: &mut Context<'_, Tombstones>, _: Option<Alert>) -> Result<()> {
    Ok(())
}

#[processor(group = "tombstones-wrapped")]
#[input(Profiles)]
fn tombstones_wrapped(_: &mut Context<TombstonesWrapped>, _: Option<Json<Alert>>) -> Result<()> {
    Ok(())
}

#[processor(group = "text-ref")]
#[input(UserClicks)]
fn text_ref(_: &mut Context, _: &String) -> Result<()> {
    Ok(())
}

#[processor(group = "text-option")]
#[input(UserClicks)]
fn text_option(_: &mut Context, _: Option<&str>) -> Result<()> {
    Ok(())
}

#[processor(group = "named-text")]
#[input("a", "b")]
#[input("c")]
fn named_text(_: &mut Context, _: &str) -> Result<()> {
    Ok(())
}

#[processor(group = "named-bytes")]
#[input("d")]
fn named_bytes(_: &mut Context, _: Option<&[u8]>) -> Result<()> {
    Ok(())
}

/// The value of a JSON input that is given by name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub number: u64,
}

#[processor(group = "named-json", persist = Json<Vec<Event>>)]
#[input("events")]
fn named_json(ctx: &mut Context, event: Json<Event>) -> Result<()> {
    ctx.update(|events| {
        let mut events = events.unwrap_or_default();
        events.push(event.0);
        events
    })?;
    Ok(())
}

#[processor(group = "named-json-option")]
#[input("events")]
fn named_json_option(_: &mut Context, _: Option<Json<Event>>) -> Result<()> {
    Ok(())
}

#[processor(group = "named-option-ref")]
#[input("numbers-3")]
fn named_option_ref(_: &mut Context, _: &Option<u32>) -> Result<()> {
    Ok(())
}

#[processor(group = "named-unit")]
#[input("ticks")]
fn named_unit(_: &mut Context, (): ()) -> Result<()> {
    Ok(())
}

/// Keys that are numbers, also of the input given by name.
#[processor(group = "by-number", persist = bool)]
#[input("more-by-number", ByNumber)]
#[output(ByNumber, Alerts, Blobs)]
pub fn count_by_number(ctx: &mut Context, _: i64) -> Result<()> {
    let key: u64 = ctx.key();
    ctx.emit(ByNumber, key, &3)?;
    ctx.emit(ByNumber, 4, &3)?;
    ctx.emit(Alerts, key.to_string(), &Json(Alert(1)))?;
    let owned = key.to_string();
    ctx.emit(Alerts, &owned, &Alert(1))?;
    ctx.emit(Alerts, owned, &Alert(1))?;
    ctx.emit(Blobs, "text", b"bytes")?;
    ctx.emit(Blobs, "text", &b"bytes"[..])?;
    ctx.emit(Blobs, "text", &vec![1, 2])?;
    ctx.set_value(&true)?;
    Ok(())
}

/// Key type and partitioner are options.
#[processor(group = "fnv", persist = Vec<u8>, key = Vec<u8>, partitioner = goka::Fnv1a)]
#[input("goka-topic")]
pub fn fnv(ctx: &mut Context, value: &[u8]) -> Result<()> {
    let key: &[u8] = ctx.key();
    ctx.set_value(key)?;
    ctx.set_value(value)?;
    Ok(())
}

macro_rules! counter {
    ($(#[$meta:meta])* $name:ident, $group:literal, $topic:ty, $value:ty) => {
        $(#[$meta])*
        #[processor(group = $group, persist = $value)]
        #[input($topic)]
        pub fn $name(ctx: &mut Context, click: String) -> Result<()> {
            let n = ctx.value()?.unwrap_or(0) + <$value>::from(!click.is_empty());
            ctx.set_value(&n)?;
            Ok(())
        }
    };
}

counter!(
    /// Made by a macro.
    made_one, "made-1", UserClicks, u32
);
counter!(
    /// Made by a macro too.
    made_two, "made-2", crate::topics::UserClicks, i8
);

/// A group table as another processor's input.
#[processor(group = "reader")]
#[input(ClickCount)]
pub fn reader(_: &mut Context, count: Option<i64>) -> Result<()> {
    let _ = count;
    Ok(())
}

#[cfg(any())]
#[processor(group = "not-compiled")]
#[input(DoesNotExist)]
fn not_compiled(ctx: &mut Context, value: DoesNotExist) {}

/// Counts nothing.
#[deprecated = "handlers may be"]
#[processor(group = "deprecated")]
#[input("old")]
pub fn deprecated(_: &mut Context, _: String) -> Result<()> {
    Ok(())
}

/// Names that generated code might use.
pub mod names {
    use goka::prelude::*;

    macro_rules! named {
        ($($name:ident $group:literal)*) => {$(
            #[processor(group = $group, persist = i64)]
            #[input("named")]
            fn $name(context: &mut Context, value: &i64) -> Result<()> {
                context.set_value(value)?;
                Ok(())
            }
        )*};
    }

    named!(value "value" parameter "parameter" raw "raw" taker "taker" input_0 "input-0" edges "edges");
}

/// A processor inside of a function, which the registry finds, too.
pub fn inside() {
    #[processor(group = "inside")]
    #[input("inside")]
    fn nested(_: &mut Context, _: String) -> Result<()> {
        Ok(())
    }
}
