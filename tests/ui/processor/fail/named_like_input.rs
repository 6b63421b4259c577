// A processor's type has another name than its inputs.

use goka::prelude::*;

#[stream("visits", value = String)]
struct Visits;

#[processor(group = "g", persist = i64)]
#[input(Visits)]
fn visits(ctx: &mut Context, visit: String) -> Result<()> {
    let _ = (ctx.key(), visit);
    Ok(())
}

fn main() {
    let _ = visits;
}
