// A value that a codec decodes is not borrowed from the record.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("texts", value = Json<String>)]
struct Texts;

#[processor(group = "g", persist = i64)]
#[input(Texts)]
fn count(ctx: &mut Context, click: &str) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
