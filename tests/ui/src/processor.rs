//! Processors in every accepted shape.

use goka::prelude::*;
use serde::{Deserialize, Serialize};

/// Clicks, keyed by user.
#[stream("user-clicks", key = String, value = String, partitions = 8)]
pub struct UserClicks;

/// An alert.
#[derive(Debug, Serialize, Deserialize)]
pub struct Alert(i64);

/// Alerts.
#[stream("alerts", value = Json<Alert>)]
pub struct Alerts;

/// The program of the README.
#[processor(group="my-group", persist=i64)]
#[input("user-clicks")]
fn process(ctx: &mut Context, msg: String) -> Result<()> {
    let count = ctx.value()?.unwrap_or(0) + 1;
    ctx.set_value(&count)?;
    let _ = msg;
    Ok(())
}

/// Counts clicks.
#[output(Alerts)]
#[processor(group = "click-count", persist = i64)]
#[input(UserClicks)]
pub fn click_count(ctx: &mut Context, _click: &str) -> Result<()> {
    let n = ctx.update(|n| n.unwrap_or(0) + 1)?;
    ctx.emit(Alerts, ctx.key(), &Alert(n))?;
    Ok(())
}
