// A misspelled option hides nothing that is wrong elsewhere: the input is missing, too (two here).

use goka::prelude::*;

#[processor(group = "g", presist = i64)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
}
