//! Processors of an `impl`, and the edges that need one.

use std::rc::Rc;

use goka::prelude::*;
use serde::{Deserialize, Serialize};

use crate::processor::ClickCount;
use crate::topics::{Alert, Alerts, ByNumber, Plans, Profiles, UserClicks};

/// What goes to another key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// From whom.
    pub from: String,
}

/// Every edge there is, and a resource of its own.
#[derive(Debug)]
pub struct Mailbox {
    greeting: String,
}

#[processor(group = "mailbox", persist = Json<Vec<String>>, suffix = "-table", key = String)]
#[join(Profiles, ClickCount)]
#[lookup(Plans)]
#[output(Alerts)]
impl Mailbox {
    /// Its kind.
    pub const KIND: &'static str = "mailbox";

    /// With a greeting.
    pub fn new(greeting: &str) -> Self {
        Self {
            greeting: greeting.to_owned(),
        }
    }

    /// A click.
    #[input(UserClicks, start = "latest")]
    #[input("more-messages")]
    pub fn on_message(&self, ctx: &mut Context, message: String) -> Result<()> {
        let profile: Option<Alert> = ctx.join(Profiles)?;
        let clicks: Option<i64> = ctx.join(ClickCount)?;
        let plan: Option<String> = ctx.lookup(Plans, 7)?;
        let from = ctx.key().to_owned();
        ctx.loopback(&message, &Receipt { from })?;
        self.add(ctx, format!("{message} {profile:?} {clicks:?} {plan:?}"))?;
        Ok(())
    }

    fn add(&self, ctx: &mut Context, line: String) -> Result<()> {
        ctx.update(|lines| {
            let mut lines = lines.unwrap_or_default();
            lines.push(format!("{} {line}", self.greeting));
            lines
        })?;
        Ok(())
    }

    /// A receipt.
    #[loopback]
    pub fn on_receipt(&self, ctx: &mut Context, receipt: Json<Receipt>) -> Result<()> {
        self.add(ctx, receipt.0.from)
    }

    /// An alert, in the end.
    #[input(Alerts)]
    pub async fn on_alert(&self, ctx: &mut Context, alert: &Alert) -> Result<()> {
        let shared = Rc::new(alert.0);
        let key = ctx.key();
        std::future::ready(()).await;
        ctx.emit(Alerts, key, &Alert(*shared + 1))?;
        std::future::ready(()).await;
        ctx.defer().done();
        Ok(())
    }

    /// Forgets long boxes.
    #[visit]
    pub fn clean(&self, ctx: &mut Context, most: u64) -> Result<()> {
        let lines = ctx.value()?.unwrap_or_default();
        if u64::try_from(lines.len()).is_ok_and(|lines| lines > most) {
            ctx.delete()?;
        }
        Ok(())
    }

    /// Without an argument, and without `self`.
    #[visit(name = "forget-all")]
    async fn forget(ctx: &mut Context, _: Option<&str>) -> Result<()> {
        ctx.delete()?;
        Ok(())
    }
}

/// Made by `Default`.
#[derive(Debug, Default)]
pub struct Plain;

#[goka::processor(group = "plain")]
impl Plain {
    #[goka::input("plain", "plain-2")]
    async fn on(_: &mut goka::Context, text: &str) -> goka::Result<()> {
        let _ = text;
        Ok(())
    }
}

/// A table whose handle has fields, read by another processor.
#[processor(group = "reader-of-mailboxes")]
#[input("reader-of-mailboxes")]
#[join(Mailbox)]
#[lookup(Mailbox)]
pub fn reader_of_mailboxes(ctx: &mut Context, _: &str) -> Result<()> {
    let joined: Option<Vec<String>> = ctx.join_of::<Mailbox>()?;
    let other = ctx.lookup_of::<Mailbox>("bob")?;
    let _ = (joined, other);
    Ok(())
}

/// Registered by hand, once for each type.
#[derive(Debug, Default)]
pub struct Router<T>(pub T);

#[processor(group = "router", persist = Json<T>)]
#[output(Alerts)]
#[lookup(ByNumberTable)]
impl<T> Router<T>
where
    T: Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    #[input("r")]
    fn on(&self, ctx: &mut Context, value: Json<T>) -> Result<()> {
        ctx.set_value(&value)?;
        ctx.loopback("elsewhere", &value)?;
        ctx.emit(Alerts, ctx.key(), &Alert(1))?;
        Ok(())
    }

    #[input("r2", start = earliest)]
    async fn on_other(&self, ctx: &mut Context, _: &Json<T>) -> Result<()> {
        std::future::ready(()).await;
        ctx.emit(Alerts, ctx.key(), &Alert(2))?;
        Ok(())
    }

    #[loopback]
    fn back(&self, ctx: &mut Context, value: &Json<T>) -> Result<()> {
        ctx.set_value(value)?;
        Ok(())
    }
}

/// Of numbers.
#[derive(Debug)]
#[table("by-number-table", key = u64, value = i64)]
pub struct ByNumberTable;

/// Two processors that join each other's tables.
#[processor(group = "left", persist = i64)]
#[input(UserClicks)]
#[join(Right)]
fn left(ctx: &mut Context, _: &str) -> Result<()> {
    let _ = ctx.join(Right)?;
    Ok(())
}

#[processor(group = "right", persist = i64)]
#[input(UserClicks)]
#[join(Left)]
fn right(ctx: &mut Context, _: &str) -> Result<()> {
    let _ = ctx.join(Left)?;
    Ok(())
}

#[input(ByNumber)]
#[lookup(Plans)]
#[processor(group = "async-fn", persist = i64)]
async fn async_fn(ctx: &mut Context, n: i64) -> Result<()> {
    std::future::ready(()).await;
    let _ = ctx.lookup(Plans, ctx.key())?;
    ctx.set_value(&n)?;
    Ok(())
}
