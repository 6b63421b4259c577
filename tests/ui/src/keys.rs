//! Keys, codecs and partitioners in every accepted shape.

use goka::prelude::*;
use serde::{Deserialize, Serialize};

use crate::topics::{Alert, ByTenant, Measurements, UserClicks, by_tenant};

/// A key that is text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, goka::Key)]
pub struct UserId(pub String);

/// A key in the order of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, goka::Key)]
#[key(ordered)]
pub struct Day(pub i64);

/// A key as Kafka's `LongSerializer` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, goka::Key)]
#[key(codec = Be<i64>)]
pub struct Account {
    /// Its number.
    pub number: i64,
}

/// A key of parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, goka::Key)]
pub struct UserDay(pub UserId, pub Day, pub (u8, goka::Ordered<i32>));

/// Travels as its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, goka::Codec)]
pub struct Cents(pub i64);

/// Travels as JSON.
#[derive(Debug, Clone, PartialEq, goka::Codec)]
#[codec(Json<Vec<Place>>)]
pub struct Places {
    /// The places.
    pub all: Vec<Place>,
}

/// Has a shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, goka::Schema)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct Place {
    /// In degrees.
    pub lat_deg: f64,
    /// In degrees.
    #[serde(rename = "longitude")]
    pub r#lon: f64,
    /// Not written.
    #[serde(skip)]
    pub cache: Option<std::time::Instant>,
    /// Without a shape.
    #[schema(opaque)]
    pub alert: Option<Alert>,
    /// Places in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<Place>,
    /// Inlined.
    #[serde(flatten)]
    pub page: Page<u8>,
}

/// Has a parameter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, goka::Schema)]
pub struct Page<T> {
    /// Its number.
    pub page: T,
}

/// Has alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, goka::Schema)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "UPPERCASE"
)]
pub enum Kind {
    /// Nothing.
    VeryEmpty,
    /// Something.
    Full {
        /// How much.
        amount: u64,
    },
    /// Other.
    Wrapped(Page<String>),
    /// Never written.
    #[serde(skip)]
    Hidden,
}

/// A tuple, a unit and a newtype.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, goka::Schema)]
pub enum Mixed {
    /// A unit.
    Unit,
    /// A newtype.
    New(Box<Mixed>),
    /// A tuple.
    Pair(i64, Option<Unit>),
}

/// Nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, goka::Schema)]
pub struct Unit;

/// Cents, as Kafka's `IntegerSerializer` writes them.
#[derive(Debug)]
pub struct CentsOnTheWire;

impl goka::Codec for CentsOnTheWire {
    type Value = Cents;
    const NAME: &'static str = "cents-be";

    fn encode(value: &Cents, out: &mut Vec<u8>) -> std::result::Result<(), goka::CodecError> {
        Be::<i64>::encode(&value.0, out)
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Cents, goka::CodecError> {
        Be::<i64>::decode(bytes).map(Cents)
    }
}

/// A codec of its own.
#[derive(Debug)]
#[stream("prices", key = UserDay, value = Cents, codec = CentsOnTheWire)]
pub struct Prices;

/// Kafka's own serializers.
#[derive(Debug)]
#[table("balances", key = Account, value = Be<f64>)]
pub struct Balances;

/// A UUID and a tuple.
#[derive(Debug)]
#[stream("by-tuple", key = (String, u64), value = Json<Mixed>)]
pub struct ByTuple;

/// Described.
#[derive(Debug)]
#[table("places", key = goka::Ordered<i64>, value = Json<Place>, partitioner = crate::topics::by_tenant)]
pub struct PlacesTable;

/// Sums prices.
#[processor(group = "prices", persist = Cents, codec = CentsOnTheWire, name = Sums)]
#[input(Prices)]
#[output(Balances, PlacesTable, ByTuple, Measurements)]
pub fn sums(ctx: &mut Context, price: Cents) -> Result<()> {
    let UserDay(UserId(user), Day(day), _) = ctx.key();
    let sum = ctx.value()?.map_or(0, |sum| sum.0) + price.0;
    ctx.set_value(&Cents(sum))?;
    ctx.emit(Balances, Account { number: day }, &0.5)?;
    ctx.emit(PlacesTable, goka::Ordered(day), &Place::default())?;
    ctx.emit(PlacesTable, 17, &Place::default())?;
    ctx.emit(ByTuple, (user, 3), &Mixed::Unit)?;
    ctx.emit(Measurements, (), &sum)?;
    ctx.emit(Measurements, goka::NoKey, &sum)?;
    Ok(())
}

/// No keys, so no table.
#[processor(group = "measured")]
#[input(Measurements)]
#[output(UserClicks)]
pub fn measured(ctx: &mut Context, value: i64) -> Result<()> {
    let goka::NoKey = ctx.key();
    ctx.emit(UserClicks, value.to_string(), "measured")?;
    Ok(())
}

/// Two topics placed by one function, which the group names too.
#[derive(Debug)]
#[stream("by-tenant-too", value = String, partitioner = self::by_tenant)]
pub struct ByTenantToo;

/// By tenant.
#[processor(group = "tenants", persist = Json<Kind>, partitioner = by_tenant)]
#[input(ByTenant, ByTenantToo, "by-tenant-named")]
pub fn tenants(ctx: &mut Context, _: &str) -> Result<()> {
    ctx.set_value(&Kind::VeryEmpty)?;
    Ok(())
}

/// Longs.
#[processor(group = "longs", persist = Be<i64>)]
#[input("longs")]
pub fn longs(ctx: &mut Context, long: Option<Be<i64>>) -> Result<()> {
    ctx.set_value(&long.map_or(0, |long| long.0))?;
    ctx.set_value(&Be(1))?;
    Ok(())
}

/// Wrapped.
#[processor(group = "places", persist = Places, name = PlacesProcessor)]
#[input("places-in")]
pub fn places(ctx: &mut Context, cents: Cents) -> Result<()> {
    let _ = cents;
    ctx.set_value(&Places { all: Vec::new() })?;
    Ok(())
}
