// The type of a `pub` function's processor is public, and so has to be what it is declared with (two here).

use goka::prelude::*;
use serde::{Deserialize, Serialize};

#[stream("orders", value = Json<Order>)]
struct Orders;

#[derive(Serialize, Deserialize)]
struct Order {
    amount: i64,
}

#[derive(Default, Serialize, Deserialize)]
struct Total {
    amount: i64,
}

#[processor(group = "g", persist = Json<Total>)]
#[input(Orders)]
pub fn count(ctx: &mut Context, order: Order) -> Result<()> {
    let mut total = ctx.value()?.unwrap_or_default();
    total.amount += order.amount;
    ctx.set_value(&total)?;
    Ok(())
}

fn main() {
    let _ = (Orders, Count, count);
}
