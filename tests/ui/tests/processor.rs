//! The generated code at run time: graphs, dispatch, registry.

use goka::dispatch::{
    Call, ContextError, Deferred, Destination, Encode, Incoming, RawRecord, Scope,
};
use goka::graph::{Definition, Edge, EdgeKind, Start};
use goka::prelude::*;
use goka::registry::Registry;
use goka::table::StoredRef;
use goka::testing::Probe;
use goka::{Guarantee, HandlerError, Headers, Processor, Timestamp, Topic};
use goka_ui_tests::edges::{Mailbox, Plain, Receipt, Router};
use goka_ui_tests::processor::{
    ClickCount, CountByNumber, Fnv, JsonShapes, MadeOne, MadeTwo, click_count, count_by_number,
};
use goka_ui_tests::topics::{Alert, Alerts, ByNumber, Plans, Profiles, UserClicks};

/// The edges of a graph on one line each.
fn lines(definition: &Definition) -> Vec<String> {
    let line = |edge: &Edge| {
        let kind = match edge.kind {
            EdgeKind::Input { tombstones, .. } if tombstones => "input?",
            EdgeKind::Input { .. } => "input",
            EdgeKind::Output => "output",
            EdgeKind::Table => "table",
            EdgeKind::Join => "join",
            EdgeKind::Lookup => "lookup",
            EdgeKind::Loopback { .. } => "loopback",
            EdgeKind::Visit { name, .. } => name,
            _ => "other",
        };
        let topic = &edge.topic;
        let count = topic.partitions.map_or(String::new(), |n| format!(" {n}"));
        format!("{kind} {} {}{count}", topic.name, topic.fingerprint())
    };
    definition.graph.edges.iter().map(line).collect()
}

#[test]
fn a_graph_has_the_edges_as_declared() {
    let definition = ClickCount::DEFINITION;
    assert_eq!(definition.graph.name, "ClickCount");
    assert_eq!(definition.graph.group, "click-count");
    let text = "v1;key=utf8;value=utf8;partitioner=murmur2";
    assert_eq!(
        lines(definition),
        [
            "output alerts v1;key=utf8;value=json;partitioner=murmur2".to_owned(),
            format!("input user-clicks {text} 8"),
            format!("input numbers-2 {text} 8"),
            "table click-count-state v1;key=utf8;value=integer;partitioner=murmur2 8".to_owned(),
        ]
    );
    assert_eq!(
        lines(CountByNumber::DEFINITION)[0],
        "input more-by-number v1;key=integer;value=integer;partitioner=murmur2"
    );
    assert_eq!(
        lines(Fnv::DEFINITION),
        [
            "input goka-topic v1;key=bytes;value=bytes;partitioner=fnv1a",
            "table fnv-state v1;key=bytes;value=bytes;partitioner=fnv1a",
        ]
    );
    assert_eq!(<ClickCount as Topic>::NAME, "click-count-state");
    assert_eq!(
        (definition.make.expect("a unit"))().type_id(),
        (definition.type_id)()
    );
}

#[test]
fn the_guarantee_is_at_least_once_by_default() {
    let promised = |definition: &Definition| definition.graph.guarantee;
    assert_eq!(promised(JsonShapes::DEFINITION), Guarantee::ExactlyOnce);
    assert_eq!(promised(ClickCount::DEFINITION), Guarantee::AtLeastOnce);
}

#[test]
fn edges_have_the_location_of_their_attribute() {
    let source = include_str!("../src/processor.rs");
    let line = |edge: &Edge| source.lines().nth(edge.location.line as usize - 1);
    let edges = ClickCount::DEFINITION.graph.edges;
    assert!(edges[0].location.file.ends_with("src/processor.rs"));
    assert_eq!(line(&edges[0]), Some("#[output(Alerts)]"));
    assert_eq!(line(&edges[1]), Some("#[input(UserClicks)]"));
    let location = JsonShapes::DEFINITION.graph.location;
    let line = source.lines().nth(location.line as usize - 1);
    assert!(line.is_some_and(|line| line.starts_with("pub fn json_bare(")));
}

#[test]
fn handlers_can_be_tested_as_functions() -> Result<()> {
    let mut probe = Probe::new();
    click_count(&mut probe.context("alice")?, "home")?;
    click_count(&mut probe.context("alice")?, "away")?;
    assert_eq!(probe.value("alice")?, Some(2));
    click_count(&mut probe.context("alice")?, "")?;
    assert_eq!(probe.value("alice")?, None);
    let emitted = probe.emitted(Alerts)?;
    assert_eq!(emitted[1], ("old-alice".to_owned(), None));
    assert_eq!(emitted[2], ("alice".to_owned(), Some(Alert(2))));

    let mut probe = Probe::new();
    count_by_number(&mut probe.context(17)?, 1)?;
    assert_eq!(probe.value(17)?, Some(true));
    assert_eq!(probe.emitted(ByNumber)?, [(17, Some(3)), (4, Some(3))]);
    Ok(())
}

/// A scope that records the calls of a handler.
#[derive(Default)]
struct Trace(Vec<String>);

impl Scope for Trace {
    fn load(&mut self) -> std::result::Result<Option<StoredRef<'_>>, ContextError> {
        Ok(Some(StoredRef {
            timestamp: 0,
            value: b"41",
        }))
    }

    fn store(&mut self, value: Option<Encode<'_>>) -> std::result::Result<(), ContextError> {
        let mut bytes = Vec::new();
        if let Some(value) = value {
            value(&mut bytes).expect("it encodes");
        }
        self.0
            .push(format!("store {}", String::from_utf8_lossy(&bytes)));
        Ok(())
    }

    fn join(
        &mut self,
        _table: &'static str,
    ) -> std::result::Result<Option<StoredRef<'_>>, ContextError> {
        Ok(None)
    }

    fn lookup(
        &mut self,
        _table: &'static str,
        _key: Encode<'_>,
    ) -> std::result::Result<Option<StoredRef<'_>>, ContextError> {
        Ok(None)
    }

    fn defer(&mut self) -> Deferred {
        Deferred::new(|_| {})
    }

    fn emit(
        &mut self,
        to: &Destination,
        _key: Option<Encode<'_>>,
        _value: Option<Encode<'_>>,
        timestamp: Option<Timestamp>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> std::result::Result<(), ContextError> {
        let headers = headers.len();
        self.0
            .push(format!("emit {} {timestamp:?} {headers}", to.topic));
        Ok(())
    }
}

fn call<P: Processor>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> (std::result::Result<(), HandlerError>, Vec<String>) {
    let mut trace = Trace::default();
    let definition = P::DEFINITION;
    let input = definition.graph.inputs().next().expect("it has an input");
    let EdgeKind::Input {
        call: Call::Sync(call),
        ..
    } = input.kind
    else {
        unreachable!("the handler is synchronous")
    };
    let shared = (definition.make.expect("a unit"))();
    let record = Incoming {
        group: definition.graph.group,
        topic: input.topic.name,
        partition: 3,
        offset: 7,
        timestamp: 5,
        key,
        value,
        headers: Headers::default(),
    };
    let raw = RawRecord {
        record,
        scope: &mut trace,
    };
    let result = call(&*shared, raw);
    (result, trace.0)
}

#[test]
fn a_record_reaches_its_handler() {
    let (result, trace) = call::<ClickCount>(Some(b"alice"), Some(b"x"));
    assert!(result.is_ok());
    assert_eq!(
        trace,
        ["store 42", "emit alerts Some(3) 1", "emit alerts None 0"]
    );
}

#[test]
fn a_record_that_does_not_match_its_declaration_is_an_error() {
    let error = |key: Option<&[u8]>, value: Option<&[u8]>| {
        let (result, trace) = call::<ClickCount>(key, value);
        assert!(trace.is_empty(), "the handler ran");
        result.expect_err("an error").to_string()
    };
    assert_eq!(
        error(Some(b"alice"), None),
        "the record of user-clicks is a tombstone; take `Option<..>` to handle deletions"
    );
    assert_eq!(
        error(None, Some(b"x")),
        "the record of user-clicks has no key"
    );
    assert!(error(Some(b"\xff"), None).starts_with(r"key of user-clicks: not utf8: `\xff`: "));
    assert!(error(Some(b"a"), Some(b"\xff")).starts_with("value of user-clicks: not utf8: "));
}

#[test]
fn the_registry_has_each_processor_once_sorted_by_group() {
    let registry = Registry::collect()
        .with::<ClickCount>()
        .with::<ClickCount>();
    let definitions = registry.check().expect("they do not conflict");
    let groups: Vec<_> = definitions.iter().map(|d| d.graph.group).collect();
    assert!(groups.is_sorted());
    assert_eq!(
        groups
            .iter()
            .filter(|group| **group == "click-count")
            .count(),
        1
    );
    // Private processors are registered, too, also inside of a function.
    assert!(groups.contains(&"inside"));
}

#[test]
fn processors_made_by_macros_are_processors() {
    assert_eq!(MadeOne::DEFINITION.graph.group, "made-1");
    assert_eq!(MadeTwo::DEFINITION.graph.group, "made-2");
    assert_eq!(UserClicks::SPEC.name, "user-clicks");
}

#[test]
fn an_impl_has_the_edges_as_declared() {
    let definition = Mailbox::DEFINITION;
    assert_eq!(definition.graph.name, "Mailbox");
    assert!(definition.make.is_none(), "the greeting has no default");
    assert!(Plain::DEFINITION.make.is_some());
    let text = "v1;key=utf8;value=utf8;partitioner=murmur2";
    assert_eq!(
        lines(definition),
        [
            "join profiles v1;key=utf8;value=json;partitioner=murmur2".to_owned(),
            "join click-count-state v1;key=utf8;value=integer;partitioner=murmur2 8".to_owned(),
            "lookup plans v1;key=integer;value=utf8;partitioner=murmur2".to_owned(),
            "output alerts v1;key=utf8;value=json;partitioner=murmur2".to_owned(),
            format!("input user-clicks {text} 8"),
            format!("input more-messages {text}"),
            "loopback mailbox-loop v1;key=utf8;value=json;partitioner=murmur2".to_owned(),
            "input alerts v1;key=utf8;value=json;partitioner=murmur2".to_owned(),
            "clean mailbox-visit v1;key=utf8;value=integer;partitioner=murmur2".to_owned(),
            format!("forget-all mailbox-visit {text}"),
            "table mailbox-table v1;key=utf8;value=json:[string];partitioner=murmur2 8".to_owned(),
        ]
    );
    let starts: Vec<_> = definition
        .graph
        .inputs()
        .map(|edge| match edge.kind {
            EdgeKind::Input { start, .. } => start,
            _ => unreachable!("inputs are inputs"),
        })
        .collect();
    assert_eq!(starts, [Start::Latest, Start::Earliest, Start::Earliest]);
}

#[test]
fn handlers_of_an_impl_can_be_tested_as_methods() -> Result<()> {
    let mailbox = Mailbox::new("hello");
    let mut probe = Probe::new();
    probe.set_value("alice", &vec!["before".to_owned()])?;
    probe.set_in(Profiles, "alice", &Alert(3))?;
    probe.set_in(ClickCount, "alice", &7)?;
    probe.set_in(Plans, 7, "free")?;
    mailbox.on_message(&mut probe.context("alice")?, "bob".into())?;
    let line = r#"hello bob Some(Alert(3)) Some(7) Some("free")"#;
    assert_eq!(
        probe.value("alice")?,
        Some(vec!["before".to_owned(), line.to_owned()])
    );
    let looped = probe.looped()?;
    let from = "alice".to_owned();
    assert_eq!(looped, [("bob".to_owned(), Receipt { from })]);
    for (key, receipt) in looped {
        mailbox.on_receipt(&mut probe.context(key)?, Json(receipt))?;
    }
    assert_eq!(probe.value("bob")?, Some(vec!["hello alice".to_owned()]));
    mailbox.clean(&mut probe.context("alice")?, 1)?;
    assert_eq!(probe.value("alice")?, None);
    assert_eq!(Mailbox::KIND, "mailbox");
    Ok(())
}

/// Calls the handler of an edge, and waits for it.
fn dispatch(
    edge: &Edge,
    shared: &goka::dispatch::ProcessorState,
    key: &[u8],
    value: &[u8],
) -> Vec<String> {
    let mut trace = Trace::default();
    let raw = RawRecord {
        record: Incoming {
            group: "group",
            topic: edge.topic.name,
            partition: 0,
            offset: 0,
            timestamp: 0,
            key: Some(key),
            value: Some(value),
            headers: Headers::default(),
        },
        scope: &mut trace,
    };
    let (EdgeKind::Input { call, .. } | EdgeKind::Loopback { call } | EdgeKind::Visit { call, .. }) =
        edge.kind
    else {
        unreachable!("the edge has a handler")
    };
    let handled = match call {
        Call::Sync(call) => call(shared, raw),
        Call::Async(call) => {
            let mut handling = call(shared, raw);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match handling.as_mut().poll(&mut context) {
                std::task::Poll::Ready(handled) => handled,
                std::task::Poll::Pending => unreachable!("its futures are ready"),
            }
        }
    };
    handled.expect("the handler takes the record");
    trace.0
}

#[test]
fn every_handler_is_reached() {
    let mailbox = Mailbox::new("hello");
    let edges = Mailbox::DEFINITION.graph.edges;
    let alert = dispatch(&edges[7], &mailbox, b"alice", b"3");
    assert_eq!(alert, ["emit alerts None 0"]);
    let forget = dispatch(&edges[9], &mailbox, b"alice", b"");
    assert_eq!(forget, ["store "]);
    let router = Router::<i64>::DEFINITION;
    let back = dispatch(&router.graph.edges[4], &Router(0_i64), b"alice", b"5");
    assert_eq!(back, ["store 5"]);
}

#[test]
fn generic_processors_are_registered_by_hand() {
    let is_router = |definition: &&Definition| definition.graph.name == "Router";
    assert_eq!(
        Registry::collect()
            .definitions()
            .into_iter()
            .filter(is_router)
            .count(),
        0
    );
    let registry = Registry::collect().with::<Router<i64>>();
    assert_eq!(
        registry.definitions().into_iter().filter(is_router).count(),
        1
    );
    assert!(
        Router::<i64>::DEFINITION.make.is_none(),
        "the bounds ask for no `Default`"
    );
    assert_eq!(<Router<i64> as Topic>::NAME, "router-state");
}
