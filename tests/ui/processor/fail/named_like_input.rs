// The processor's type would have the name of its input.

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
