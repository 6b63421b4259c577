//! Streams without keys in groups with keys.

use goka::prelude::*;

use crate::topics::{Alert, Alerts, ByNumber, Measurements, MeasurementsText};

/// Without keys too.
#[derive(Debug)]
#[stream("more-measurements", keyless, value = i64)]
pub struct MoreMeasurements;

/// Its keys are those of its loopback, by default `String`.
#[derive(Debug, Default)]
pub struct Sensors;

#[processor(group = "sensors", persist = i64)]
#[output(Alerts)]
impl Sensors {
    /// Everything that a record without a key can do.
    #[input(Measurements, MoreMeasurements)]
    #[input(crate::keyless::YetMore)]
    pub fn on_measurement(&self, ctx: &mut Context, value: &i64) -> Result<()> {
        let _ = (ctx.topic(), ctx.partition(), ctx.offset(), ctx.timestamp());
        ctx.emit(Alerts, "all", &Alert(*value))?;
        ctx.loopback(format!("sensor-{}", value % 10), value)?;
        self.log(ctx)
    }

    fn log(&self, ctx: &mut Context<Self, goka::WithoutKey>) -> Result<()> {
        self.log_any(ctx)
    }

    fn log_any<W>(&self, ctx: &mut Context<Self, W>) -> Result<()> {
        let _ = ctx.group();
        Ok(())
    }

    /// Text, of a context that is written out.
    #[input(MeasurementsText)]
    async fn on_text(&self, ctx: &mut Context<Self>, text: &str) -> Result<()> {
        ctx.loopback(text, &1)?;
        Ok(())
    }

    /// With a key.
    #[loopback]
    pub fn add(&self, ctx: &mut Context, value: i64) -> Result<()> {
        self.log_any(ctx)?;
        let sum = ctx.value()?.unwrap_or(0) + value;
        let _: &str = ctx.key();
        ctx.set_value(&sum)?;
        Ok(())
    }
}

/// Named by its path.
#[derive(Debug)]
#[stream("yet-more-measurements", keyless, value = i64)]
pub struct YetMore;

/// Its keys are those of the second input.
#[derive(Debug, Default)]
pub struct Numbered;

#[processor(group = "numbered", persist = i64)]
impl Numbered {
    #[input(Measurements)]
    fn on_measurement(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.loopback(value.unsigned_abs(), &value)?;
        Ok(())
    }

    #[input(ByNumber)]
    #[loopback]
    fn on_number(&self, ctx: &mut Context, value: i64) -> Result<()> {
        let _: u64 = ctx.key();
        ctx.set_value(&value)?;
        Ok(())
    }
}

/// Key type and partitioner are options; without a table.
#[derive(Debug, Default)]
pub struct Given;

#[processor(group = "given", key = (String, u64), partitioner = goka::Fnv1a)]
impl Given {
    #[input(Measurements)]
    fn on_measurement(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.loopback(("a".to_owned(), 7), &value)?;
        Ok(())
    }

    #[loopback]
    fn again(&self, ctx: &mut Context, _: i64) -> Result<()> {
        let _: (String, u64) = ctx.key();
        Ok(())
    }
}
