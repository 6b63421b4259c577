// A key of several fields is a tuple struct, since their order matters.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(goka::Key)]
struct Thing {
    #[allow(dead_code)]
    tenant: String,
    #[allow(dead_code)]
    user: u64,
}

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
