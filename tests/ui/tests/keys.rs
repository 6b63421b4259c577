//! Derived keys, codecs and shapes at run time; fingerprints.

use goka::graph::{Edge, EdgeKind, TopicSpec};
use goka::prelude::*;
use goka::testing::Probe;
use goka::{Codec, Processor, Topic, prefix};
use goka_ui_tests::keyless::{Given, Numbered, Sensors};
use goka_ui_tests::keys::{
    Account, Balances, ByTenantToo, ByTuple, Cents, Day, Kind, Measured, Mixed, Page, Place,
    Places, PlacesProcessor, PlacesTable, Prices, Sums, Tenants, Unit, UserDay, UserId, measured,
    sums,
};
use goka_ui_tests::topics::{Measurements, Plans, UserClicks};

fn bytes<C: Codec>(value: &C::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    C::encode(value, &mut bytes).expect("it encodes");
    bytes
}

fn day(user: &str, day: i64) -> UserDay {
    UserDay(UserId(user.to_owned()), Day(day), (7, goka::Ordered(-1)))
}

#[test]
fn derived_keys_have_the_bytes_that_they_promise() {
    assert_eq!(bytes::<UserId>(&UserId("alice".to_owned())), b"alice");
    assert_eq!(
        bytes::<Account>(&Account { number: 258 }),
        [0, 0, 0, 0, 0, 0, 1, 2]
    );
    assert_eq!(bytes::<Day>(&Day(0)), [0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        UserDay::parse("al\\x2cice,-3,7,-1"),
        Ok(bytes::<UserDay>(&day("al,ice", -3)))
    );
    assert_eq!(
        UserDay::show(&bytes::<UserDay>(&day("bob", 4))).as_deref(),
        Ok("bob,4,7,-1")
    );
    assert_eq!(
        UserDay::decode(&bytes::<UserDay>(&day("bob", 4))),
        Ok(day("bob", 4))
    );
    assert!(bytes::<UserDay>(&day("bob", -4)) < bytes::<UserDay>(&day("bob", 4)));
    assert!(bytes::<UserDay>(&day("bo", 9)) < bytes::<UserDay>(&day("bob", 4)));
    let bob = prefix::<UserDay, _>(&(UserId("bob".to_owned()),));
    assert!(bytes::<UserDay>(&day("bob", 4)).starts_with(&bob));
    assert!(!bytes::<UserDay>(&day("bobby", 4)).starts_with(&bob));
}

#[test]
fn derived_codecs_are_those_of_their_fields() {
    assert_eq!(bytes::<Cents>(&Cents(-5)), b"-5");
    assert_eq!(Cents::parse("250").as_deref(), Ok(&b"250"[..]));
    assert!(Cents::parse("many").is_err());
    assert_eq!(Places::decode(b"[]"), Ok(Places { all: Vec::new() }));
    assert_eq!(<Cents as Codec>::NAME, "integer");
}

fn fingerprint(spec: &TopicSpec) -> String {
    let text = spec.fingerprint();
    text.strip_prefix("v1;").expect("the version").to_owned()
}

#[test]
fn fingerprints_tell_codecs_shapes_and_partitioners() {
    let places = "{alert:any,inner:[^2],latDeg:number,longitude:number,page:integer}";
    let kinds = "<@kind|full:{AMOUNT:integer}|very_empty|wrapped:{page:string}>";
    let table = |graph: &goka::graph::GroupGraph| {
        fingerprint(&graph.table().expect("it has a table").topic)
    };
    for (found, expected) in [
        (
            fingerprint(&PlacesTable::SPEC),
            format!("key=ordered-key(int64);value=json:{places};partitioner=by_tenant()"),
        ),
        (
            table(&PlacesProcessor::DEFINITION.graph),
            format!(
                "key=utf8;value=json:[{}];partitioner=murmur2",
                places.replace("[^2]", "^2")
            ),
        ),
        (
            table(&Tenants::DEFINITION.graph),
            format!("key=utf8;value=json:{kinds};partitioner=by_tenant()"),
        ),
        (
            table(&Sums::DEFINITION.graph),
            "key=ordered-key(utf8,int64,uint8,int32);value=cents-be;partitioner=murmur2".to_owned(),
        ),
        (
            fingerprint(&Balances::SPEC),
            "key=be-int64;value=be-float64;partitioner=murmur2".to_owned(),
        ),
        (
            fingerprint(&ByTuple::SPEC),
            "key=ordered-key(utf8,uint64);value=json:<New:^1|Pair:(integer,null?)|Unit>;partitioner=murmur2"
                .to_owned(),
        ),
        (
            fingerprint(&Measurements::SPEC),
            "key=none;value=integer;partitioner=murmur2".to_owned(),
        ),
        (
            fingerprint(&goka_ui_tests::topics::Alerts::SPEC),
            "key=utf8;value=json;partitioner=murmur2".to_owned(),
        ),
    ] {
        assert_eq!(found, expected);
    }
    assert!(Measurements::SPEC.is_keyless());
    assert!(!Prices::SPEC.is_keyless());
}

/// The values whose shapes are tested above have the JSON that the shapes say.
#[test]
fn shapes_are_those_of_the_json() {
    let json = |value: &dyn erased::Json| value.text();
    let place = Place {
        inner: vec![Place::default()],
        page: Page { page: 3 },
        ..Place::default()
    };
    let inner = r#"{"latDeg":0.0,"longitude":0.0,"alert":null,"page":0}"#;
    assert_eq!(
        json(&place),
        format!(r#"{{"latDeg":0.0,"longitude":0.0,"alert":null,"inner":[{inner}],"page":3}}"#)
    );
    assert_eq!(json(&Kind::VeryEmpty), r#"{"kind":"very_empty"}"#);
    assert_eq!(
        json(&Kind::Full { amount: 1 }),
        r#"{"kind":"full","AMOUNT":1}"#
    );
    let mixed = Mixed::New(Box::new(Mixed::Pair(1, Some(Unit))));
    assert_eq!(json(&mixed), r#"{"New":{"Pair":[1,null]}}"#);
}

mod erased {
    use goka::Codec;

    /// The text that `goka::Json` writes.
    pub(super) trait Json {
        fn text(&self) -> String;
    }

    impl<T: goka::Serde> Json for T {
        fn text(&self) -> String {
            let mut bytes = Vec::new();
            goka::Json::<T>::encode(self, &mut bytes).expect("it encodes");
            String::from_utf8(bytes).expect("JSON is text")
        }
    }
}

#[test]
fn functions_can_be_partitioners() {
    let place = ByTenantToo::SPEC.partition_of;
    assert_eq!(place(b"acme/1", 12), place(b"acme/2", 12));
    assert_eq!(ByTenantToo::SPEC.partitioner, "by_tenant()");
}

#[test]
#[should_panic(expected = "partitioner `outside()` chose partition 8 of 8")]
fn a_partition_out_of_range_is_refused() {
    fn outside(_: &[u8], count: i32) -> i32 {
        count
    }

    #[stream("outside", value = String, partitioner = outside)]
    struct Outside;

    (Outside::SPEC.partition_of)(b"key", 8);
}

/// Looks up the key for a loopback.
#[derive(Default)]
struct Planner;

#[processor(group = "planner", persist = i64)]
#[lookup(Plans)]
impl Planner {
    #[input(Measurements)]
    fn on_measurement(&self, ctx: &mut Context, value: i64) -> Result<()> {
        let plan = ctx.lookup(Plans, value.unsigned_abs())?.ok_or("no plan")?;
        ctx.loopback(plan, &value)?;
        Ok(())
    }

    #[loopback]
    fn add(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.set_value(&value)?;
        Ok(())
    }
}

#[test]
fn a_loopback_gives_keys() -> Result<()> {
    let mut probe = Probe::<Sensors>::new();
    Sensors.on_measurement(&mut probe.context_without_key(), &13)?;
    assert_eq!(probe.looped()?, [("sensor-3".to_owned(), 13)]);
    Sensors.add(&mut probe.context("sensor-3")?, 13)?;
    assert_eq!(probe.value("sensor-3")?, Some(13));
    for (spec, expected) in [
        (
            <Sensors as Topic>::SPEC,
            "key=utf8;value=integer;partitioner=murmur2",
        ),
        (
            <Numbered as Topic>::SPEC,
            "key=integer;value=integer;partitioner=murmur2",
        ),
    ] {
        assert_eq!(spec.fingerprint(), format!("v1;{expected}"));
    }
    let mut probe = Probe::<Planner>::new();
    probe.set_in(Plans, 7, "seven")?;
    Planner.on_measurement(&mut probe.context_without_key(), 7)?;
    assert_eq!(probe.looped()?, [("seven".to_owned(), 7)]);
    let loops = |edge: &&Edge| matches!(edge.kind, EdgeKind::Loopback { .. });
    let edges = Given::DEFINITION.graph.edges.iter();
    let places: Vec<_> = edges
        .filter(loops)
        .map(|edge| edge.topic.partitioner)
        .collect();
    assert_eq!(places, ["fnv1a"]);
    for graph in [
        &Sensors::DEFINITION.graph,
        &Numbered::DEFINITION.graph,
        &Given::DEFINITION.graph,
    ] {
        assert_eq!(graph.validate(), []);
    }
    Ok(())
}

#[test]
fn handlers_of_keyless_streams_have_no_key() -> Result<()> {
    let mut probe = Probe::<Measured>::new();
    measured(&mut probe.context(())?, 3)?;
    assert_eq!(
        probe.emitted(UserClicks)?,
        [("3".to_owned(), Some("measured".to_owned()))]
    );
    let mut probe = Probe::<Sums>::new();
    sums(&mut probe.context(day("bob", 4))?, Cents(3))?;
    let bob = day("bob", 4);
    sums(&mut probe.context(&bob)?, Cents(4))?;
    assert_eq!(probe.value(day("bob", 4))?, Some(Cents(7)));
    assert_eq!(
        probe.emitted(Balances)?[0],
        (Account { number: 4 }, Some(0.5))
    );
    assert_eq!(probe.emitted(PlacesTable)?[1].0, goka::Ordered(17));
    Ok(())
}
