//! The introduction's picture: click-count and user-status share a table.

use crate::graph::{
    Application, ApplicationEdge, ApplicationGroup, EdgeShape, Location, TopicKind,
};

fn edge(
    shape: EdgeShape,
    topic: &str,
    value: &str,
    file: &'static str,
    line: u32,
) -> ApplicationEdge {
    ApplicationEdge {
        shape,
        topic: topic.to_owned(),
        kind: TopicKind::Stream,
        key: "utf8".to_owned(),
        value: value.to_owned(),
        partitioner: "murmur2".to_owned(),
        partitions: None,
        location: Location {
            file,
            line,
            column: 1,
        },
    }
}

fn introduction() -> Application {
    use EdgeShape::{Input, Join, Table};
    let (clicks, status) = ("click-count/src/lib.rs", "user-status/src/lib.rs");
    let mut changes = edge(Input, "status-changes", "json", status, 8);
    changes.partitions = Some(4);
    let group = |group: &str, processor: &str, edges: Vec<ApplicationEdge>| ApplicationGroup {
        group: group.to_owned(),
        processor: processor.to_owned(),
        location: edges[edges.len() - 1].location,
        edges,
    };
    Application::from(vec![
        group(
            "user-status",
            "UserStatus",
            vec![
                changes,
                edge(Join, "click-count-state", "integer", status, 9),
                edge(Table, "user-status-state", "json", status, 7),
            ],
        ),
        group(
            "click-count",
            "ClickCount",
            vec![
                edge(Input, "user-clicks", "utf8", clicks, 8),
                edge(Table, "click-count-state", "integer", clicks, 7),
            ],
        ),
    ])
}

#[test]
fn as_text() {
    let expected = "\
group click-count  processor ClickCount  click-count/src/lib.rs:7
  input    user-clicks        key utf8  value utf8  by murmur2  click-count/src/lib.rs:8
  table    click-count-state  key utf8  value integer  by murmur2  click-count/src/lib.rs:7

group user-status  processor UserStatus  user-status/src/lib.rs:7
  input    status-changes     key utf8  value json  by murmur2  partitions 4  user-status/src/lib.rs:8
  join     click-count-state  key utf8  value integer  by murmur2  user-status/src/lib.rs:9
  table    user-status-state  key utf8  value json  by murmur2  user-status/src/lib.rs:7

table  click-count-state  written by click-count; read by user-status
stream status-changes     read by user-status
stream user-clicks        read by click-count
table  user-status-state  written by user-status
";
    assert_eq!(introduction().text(), expected);
}

#[test]
fn as_mermaid() {
    let expected = r#"flowchart LR
  t0[("click-count-state<br/>utf8: integer")]
  t1(["status-changes<br/>utf8: json × 4"])
  t2(["user-clicks<br/>utf8: utf8"])
  t3[("user-status-state<br/>utf8: json")]
  g0["click-count"]
  g1["user-status"]
  t2 -->|"input"| g0
  g0 -->|"table"| t0
  t1 -->|"input"| g1
  t0 -.->|"join"| g1
  g1 -->|"table"| t3
"#;
    assert_eq!(introduction().mermaid(), expected);
}

#[test]
fn as_dot() {
    let expected = r#"digraph goka {
  rankdir=LR;
  t0 [label="click-count-state\nutf8: integer", shape=cylinder];
  t1 [label="status-changes\nutf8: json × 4", shape=cds];
  t2 [label="user-clicks\nutf8: utf8", shape=cds];
  t3 [label="user-status-state\nutf8: json", shape=cylinder];
  g0 [label="click-count", shape=box];
  g1 [label="user-status", shape=box];
  t2 -> g0 [label="input"];
  g0 -> t0 [label="table"];
  t1 -> g1 [label="input"];
  t0 -> g1 [label="join", style=dashed];
  g1 -> t3 [label="table"];
}
"#;
    assert_eq!(introduction().dot(), expected);
}

#[test]
fn as_json() {
    let text = introduction().json();
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["groups"][1]["group"], "user-status");
    let join = serde_json::json!({
        "edge": "join", "topic": "click-count-state", "key": "utf8", "value": "integer",
        "partitioner": "murmur2", "partitions": null, "file": "user-status/src/lib.rs", "line": 9,
    });
    assert_eq!(json["groups"][1]["edges"][1], join);
    let topics: Vec<_> = json["topics"].as_array().expect("a list").iter().collect();
    assert_eq!(topics.len(), 4, "a shared table is there once");
    assert_eq!(topics[0]["shape"], "table");
    assert_eq!(topics[1]["partitions"], 4);
}

#[test]
fn groups_and_edges_in_any_order_give_the_same_drawing() {
    let there = introduction();
    let groups: Vec<_> = there.groups().iter().rev().cloned().collect();
    let back = groups.into_iter().fold(Application::new(), |all, group| {
        all.merge(Application::from(vec![group]))
    });
    assert_eq!(back.json(), there.json());
}

/// Names that Kafka would not take, in graphs written by hand, do not break the drawing.
#[test]
fn names_are_quoted() {
    let odd = "a\"b\\c<d>\n#";
    let edges = vec![
        edge(EdgeShape::Input, odd, "utf8", "x.rs", 1),
        edge(EdgeShape::Loopback, "g-loop", "utf8", "x.rs", 2),
        edge(EdgeShape::Loopback, "g-loop", "bytes", "x.rs", 3),
        edge(EdgeShape::Visit, "g-visit", "utf8", "x.rs", 4),
    ];
    let application = Application::from(vec![ApplicationGroup {
        group: odd.to_owned(),
        processor: "P".to_owned(),
        location: edges[0].location,
        edges,
    }]);
    let mermaid = application.mermaid();
    assert!(
        mermaid.contains("  g0[\"a#quot;b\\c#lt;d#gt;<br/>#35;\"]\n"),
        "{mermaid}"
    );
    let arrows = "  t0 -->|\"input\"| g0\n  t1 -->|\"loopback\"| g0\n  g0 -->|\"loopback\"| t1\n  t2 -->|\"visit\"| g0\n";
    assert!(mermaid.ends_with(arrows), "{mermaid}");
    let dot = application.dot();
    assert!(
        dot.contains("g0 [label=\"a\\\"b\\\\c<d>\\n#\", shape=box];"),
        "{dot}"
    );
    assert!(serde_json::from_str::<serde_json::Value>(&application.json()).is_ok());
}
