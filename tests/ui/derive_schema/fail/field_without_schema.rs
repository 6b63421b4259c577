// The types of all fields have a schema.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(serde::Serialize, serde::Deserialize)]
struct Inner;

#[derive(serde::Serialize, serde::Deserialize, goka::Schema)]
struct Thing {
    #[allow(dead_code)]
    inner: Inner,
}

#[stream("things", value = Json<Thing>)]
struct Things;

#[processor(group = "g")]
#[input(Things)]
fn count(ctx: &mut Context, value: Thing) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Things, Count, count);
}
