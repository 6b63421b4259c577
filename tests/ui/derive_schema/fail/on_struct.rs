// `opaque` is an option of fields, not of structs.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(serde::Serialize, serde::Deserialize, goka::Schema)]
#[schema(opaque)]
struct Thing {
    #[allow(dead_code)]
    inner: i64,
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
