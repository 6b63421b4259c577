//! A program for tests: adds up the cost of orders, with a table of prices and one of discounts that no
//! group writes.

use goka::prelude::*;

/// The price of each item.
#[table("order-prices", key = String, value = i64)]
struct Prices;

/// The discount of each customer, in percent.
#[table("order-discounts", key = String, value = i64)]
struct Discounts;

/// Adds up the revenue of each item; the value of an order is its customer.
#[processor(group = "orders", persist = i64)]
#[input("orders")]
#[join(Prices)]
#[lookup(Discounts)]
fn orders(ctx: &mut Context, customer: String) -> Result<()> {
    let price = ctx.join(Prices)?.unwrap_or_default();
    let discount = ctx.lookup(Discounts, &customer)?.unwrap_or_default();
    ctx.update(|sum| sum.unwrap_or(0) + price * (100 - discount) / 100)?;
    Ok(())
}

fn main() -> ExitCode {
    goka::main()
}
