// A function that uses the context of a handler names its processor.

use goka::prelude::*;

fn add(ctx: &mut Context) -> Result<()> {
    ctx.set_value(&1)?;
    Ok(())
}

fn main() {
    let _ = add;
}
