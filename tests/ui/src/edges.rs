//! Processors of an `impl`, and the edges that need one.

use std::rc::Rc;

use goka::prelude::*;
use serde::{Deserialize, Serialize};

use crate::processor::ClickCount;
use crate::topics::{Alert, Alerts, ByNumber, Plans, Profiles, UserClicks};

/// The value of the loopback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The sender.
    pub from: String,
}

/// Every kind of edge, and a value that handlers share.
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

/// A table of numbers.
#[derive(Debug)]
#[table("by-number-table", key = u64, value = i64)]
pub struct ByNumberTable;

/// One of two processors that handle the changes of each other's tables.
#[derive(Debug, Default)]
pub struct Left;

#[processor(group = "left", persist = i64)]
#[output(UserClicks)]
impl Left {
    #[input(UserClicks)]
    fn on_click<'a>(&'a self, ctx: &'a mut Context, _: &'a str) -> Result<()> {
        ctx.update(|n| n.unwrap_or(0) + 1)?;
        Ok(())
    }

    #[input(Right, start = latest)]
    fn on_right(&self, ctx: &mut Context, right: Option<i64>) -> Result<()> {
        if right.is_none() {
            ctx.delete()?;
        }
        Ok(())
    }
}

/// The other one.
#[derive(Debug, Default)]
pub struct Right;

#[processor(group = "right", persist = i64, key = String, partitioner = goka::Murmur2)]
impl Right {
    #[input("right")]
    #[input(Left)]
    #[loopback]
    fn on(ctx: &mut Context, left: Option<i64>) -> Result<()> {
        match left {
            Some(left) => ctx.set_value(&left)?,
            None => ctx.delete()?,
        }
        Ok(())
    }
}

/// Raw identifiers.
pub mod raw {
    use goka::prelude::*;

    /// A type with a raw name.
    #[derive(Debug, Default)]
    #[allow(non_camel_case_types)]
    pub struct r#struct;

    #[processor(group = "raw-impl", persist = String)]
    #[lookup(super::Plans)]
    impl r#struct {
        #[input(crate::topics::UserClicks)]
        fn r#fn(&self, ctx: &mut Context, r#in: &str) -> Result<()> {
            ctx.set_value(r#in)?;
            ctx.loopback(r#in, "x")?;
            Ok(())
        }

        #[loopback]
        fn r#loop(&self, ctx: &mut Context, r#type: String) -> Result<()> {
            ctx.set_value(&r#type)?;
            Ok(())
        }

        #[visit]
        fn r#match(&self, ctx: &mut Context, (): ()) -> Result<()> {
            ctx.delete()?;
            Ok(())
        }
    }
}

macro_rules! mailbox {
    ($name:ident, $group:literal, $topic:ty, $value:ty, $table:path) => {
        /// Made by a macro.
        #[derive(Debug, Default)]
        pub struct $name;

        #[processor(group = $group, persist = $value)]
        #[join($table)]
        #[output(Alerts)]
        impl $name {
            #[input($topic)]
            async fn value(&self, context: &mut Context, raw: String) -> Result<()> {
                let _ = context.join($table)?;
                context.set_value(&<$value>::from(!raw.is_empty()))?;
                context.loopback(context.key(), &<$value>::from(true))?;
                Ok(())
            }

            #[loopback]
            fn shared(context: &mut Context, value: $value) -> Result<()> {
                context.set_value(&value)?;
                Ok(())
            }
        }
    };
}

mailbox!(MadeMailbox, "made-mailbox", UserClicks, u32, Profiles);
mailbox!(
    MadeMailboxToo,
    "made-mailbox-2",
    crate::topics::UserClicks,
    i8,
    crate::topics::Profiles
);

/// A processor inside of a module, named by its path, with parameters that have defaults.
pub mod inner {
    /// By a constant and a type.
    #[derive(Debug, Default)]
    pub struct Sized<T = i64, const N: usize = 3>(pub T);
}

#[processor(group = "sized")]
impl<const N: usize> inner::Sized<i64, N> {
    #[input("sized")]
    fn on(&self, ctx: &mut Context, value: i64) -> Result<()> {
        let _ = (self.0, value, N, ctx.key());
        Ok(())
    }
}

/// A processor whose parameter has only the bounds that it needs.
#[derive(Debug)]
pub struct Wrapped<T>(pub T);

#[processor(group = "wrapped", persist = i64)]
impl<T: Send + Sync> Wrapped<T> {
    /// Around a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    #[input("wrapped")]
    fn on(&self, ctx: &mut Context, n: &i64) -> Result<()> {
        let _ = &self.0;
        ctx.set_value(n)?;
        Ok(())
    }
}

/// Deprecated, as processors may be.
#[deprecated]
#[derive(Debug, Default)]
pub struct Old;

#[allow(deprecated)]
#[processor(group = "old-impl")]
impl Old {
    /// A deprecated handler.
    #[deprecated]
    #[input("old-impl")]
    pub fn on(&self, _: &mut Context, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// An error of its own, and a handler that never fails.
#[derive(Debug, Default)]
pub struct OwnError;

#[processor(group = "own-error")]
impl OwnError {
    #[input("own-error")]
    async fn on(&self, _: &mut Context, number: &str) -> Result<(), std::num::ParseIntError> {
        let _: i64 = number.parse()?;
        Ok(())
    }

    #[input("never-fails", start = "earliest")]
    fn never(_: &mut Context, _: Option<Json<Vec<u8>>>) -> Result<(), std::convert::Infallible> {
        Ok(())
    }
}

/// Its processor is removed by `cfg`.
#[derive(Debug)]
pub struct Absent;

#[cfg(any())]
#[processor(group = "absent")]
impl Absent {
    #[input(DoesNotExist)]
    fn on(&self) {}
}

/// A processor whose values are private to its module.
mod private {
    use goka::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Secret(u8);

    #[derive(Default)]
    struct Keeper;

    #[goka::input(crate::topics::UserClicks)]
    #[goka::processor(group = "keeper-of-clicks", persist = Json<Secret>, name = KeeperOfClicks)]
    fn keep(ctx: &mut Context, _: &str) -> Result<()> {
        ctx.set_value(&Secret(1))?;
        Ok(())
    }

    #[processor(group = "keeper", persist = Json<Secret>, suffix = ".table")]
    impl Keeper {
        #[input("keeper")]
        fn keep(&self, ctx: &mut Context, _: ()) -> Result<()> {
            ctx.loopback("other", &Secret(2))?;
            Ok(())
        }

        #[loopback]
        async fn again(&self, ctx: &mut Context, secret: Json<Secret>) -> Result<()> {
            ctx.set_value(&secret)?;
            Ok(())
        }
    }
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
