// A key has no type parameters.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(goka::Key)]
struct Inner<T>(T);

#[derive(goka::Key)]
struct Thing(i64);

const _: Option<Inner<u8>> = None;

#[stream("things", key = Thing, value = i64)]
struct Things;

#[processor(group = "g")]
#[input(Things)]
fn count(ctx: &mut Context, value: i64) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Things, Count, count);
}
