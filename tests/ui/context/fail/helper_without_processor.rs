// A function that a handler calls says of which processor its context is.

use goka::prelude::*;

fn add(ctx: &mut Context) -> Result<()> {
    ctx.set_value(&1)?;
    Ok(())
}

fn main() {
    let _ = add;
}
