//! One wrong application a rule, as owned data.

use crate::graph::{
    Application, ApplicationEdge, ApplicationGroup, EdgeShape, Location, TopicKind,
};

fn at(line: u32) -> Location {
    Location {
        file: "app.rs",
        line,
        column: 1,
    }
}

fn edge(shape: EdgeShape, topic: &str, line: u32) -> ApplicationEdge {
    ApplicationEdge {
        shape,
        topic: topic.to_owned(),
        kind: match shape {
            EdgeShape::Table => TopicKind::GroupTable,
            EdgeShape::Join | EdgeShape::Lookup => TopicKind::Table,
            _ => TopicKind::Stream,
        },
        key: "utf8".to_owned(),
        value: "integer".to_owned(),
        partitioner: "murmur2".to_owned(),
        partitions: None,
        location: at(line),
    }
}

/// Group `a` has the processor `A`, and so on; each has its input.
fn group(name: &str, line: u32, edges: Vec<ApplicationEdge>) -> ApplicationGroup {
    ApplicationGroup {
        group: name.to_owned(),
        processor: name.to_uppercase(),
        location: at(line),
        edges,
    }
}

#[track_caller]
fn finds(groups: Vec<ApplicationGroup>, expected: &[&str]) {
    let findings = Application::from(groups).validate();
    let texts: Vec<_> = findings
        .iter()
        .map(|finding| {
            let text = finding.to_string();
            text.split(";\n  help: ")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(texts, expected);
}

use EdgeShape::{Input, Join, Lookup, Loopback, Output, Table, Visit};

#[test]
fn a_sound_application_has_no_findings() {
    finds(
        vec![
            group(
                "a",
                1,
                vec![
                    edge(Input, "clicks", 2),
                    edge(Loopback, "a-loop", 3),
                    edge(Loopback, "a-loop", 4),
                    edge(Visit, "a-visit", 5),
                    edge(Table, "a-state", 1),
                ],
            ),
            group(
                "b",
                10,
                vec![
                    edge(Input, "a-state", 11).of(TopicKind::GroupTable),
                    edge(Join, "a-state", 12).of(TopicKind::GroupTable),
                    edge(Lookup, "profiles", 13),
                    edge(Output, "clicks", 14),
                ],
            ),
        ],
        &[],
    );
}

impl ApplicationEdge {
    fn of(mut self, kind: TopicKind) -> Self {
        self.kind = kind;
        self
    }

    fn counted(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

#[test]
fn one_group_twice() {
    let input = || vec![edge(Input, "clicks", 2)];
    finds(
        vec![group("a", 9, input()), group("a", 1, input())],
        &["group `a` has 2 processors:\n  A at app.rs:1,\n  A at app.rs:9"],
    );
}

#[test]
fn inputs_are_there_once_and_not_too_many() {
    let many = (0..127).map(|at| edge(Input, &format!("in-{at}"), at + 1));
    let own = [
        edge(Loopback, "a-loop", 200),
        edge(Loopback, "a-loop", 201),
        edge(Visit, "a-visit", 202),
    ];
    finds(
        vec![
            group("a", 1, many.chain(own).collect()),
            group("b", 2, vec![edge(Output, "x", 3)]),
            group("c", 4, vec![edge(Input, "x", 5), edge(Input, "x", 6)]),
        ],
        &[
            "group `a` has 129 inputs, loop and visit topics counted, and at most 128 fit:\n  A at app.rs:1",
            "group `b` has no input:\n  B at app.rs:2",
            "topic `x` is an input of group `c` 2 times:\n  C (input) at app.rs:5,\n  C (input) at app.rs:6",
        ],
    );
}

#[test]
fn a_table_has_one_writer() {
    let table = || edge(Table, "shared", 3);
    finds(
        vec![
            group("a", 1, vec![edge(Input, "x", 2), table()]),
            group("b", 4, vec![edge(Input, "x", 5), table()]),
            group("c", 6, vec![edge(Input, "x", 7), edge(Output, "shared", 8)]),
            group("d", 9, vec![edge(Input, "x", 10), edge(Output, "out", 11)]),
            group("e", 12, vec![edge(Input, "x", 13), edge(Output, "out", 14)]),
        ],
        &["table `shared` has 3 writers:\n  A at app.rs:3,\n  B at app.rs:3,\n  C at app.rs:8"],
    );
}

#[test]
fn a_topic_is_declared_in_one_way() {
    let mut other = edge(Output, "x", 8);
    other.value = "utf8".to_owned();
    other.partitioner = "crc32".to_owned();
    finds(
        vec![
            group("a", 1, vec![edge(Input, "x", 2).counted(4)]),
            group("b", 6, vec![edge(Input, "y", 7), other.counted(8)]),
        ],
        &[
            "topic `x` has 2 value codecs:\n  integer at app.rs:2,\n  utf8 at app.rs:8",
            "topic `x` has 2 partitioners:\n  murmur2 at app.rs:2,\n  crc32 at app.rs:8",
            "topic `x` has 2 partition counts:\n  4 at app.rs:2,\n  8 at app.rs:8",
        ],
    );
}

#[test]
fn what_is_read_by_one_key_lies_in_one_place() {
    let mut join = edge(Join, "profiles", 3);
    join.partitioner = "fnv1a".to_owned();
    join.key = "bytes".to_owned();
    finds(
        vec![
            group("a", 1, vec![edge(Input, "x", 2), join]),
            // The table of `c` has the eight partitions of its input.
            group(
                "b",
                4,
                vec![
                    edge(Input, "x", 5).counted(4),
                    edge(Join, "c-state", 6).of(TopicKind::GroupTable),
                ],
            ),
            group(
                "c",
                7,
                vec![
                    edge(Input, "eight", 8).counted(8),
                    edge(Table, "c-state", 7),
                ],
            ),
            // Inputs alone stand for themselves, lookups always do.
            group(
                "d",
                9,
                vec![
                    edge(Input, "x", 10),
                    edge(Input, "eight", 11),
                    edge(Lookup, "c-state", 12),
                ],
            ),
        ],
        &[
            "inputs, joins and table of group `a` have 2 key codecs:\n  utf8 (`x`) at app.rs:2,\n  bytes (`profiles`) at app.rs:3",
            "inputs, joins and table of group `a` have 2 partitioners:\n  murmur2 (`x`) at app.rs:2,\n  fnv1a (`profiles`) at app.rs:3",
            "inputs, joins and table of group `b` have 2 partition counts:\n  4 (`x`) at app.rs:5,\n  8 (`c-state`) at app.rs:6",
        ],
    );
}

#[test]
fn a_joined_table_is_declared() {
    finds(
        vec![
            group(
                "a",
                1,
                vec![
                    edge(Input, "x", 2),
                    // Another program's, by `#[table(..)]`.
                    edge(Join, "profiles", 3),
                    // Of a processor that is not here.
                    edge(Join, "gone-state", 4).of(TopicKind::GroupTable),
                    // Of a group that is here and has none.
                    edge(Lookup, "b-state", 5),
                    edge(Join, "named", 6).of(TopicKind::Stream),
                ],
            ),
            group("b", 7, vec![edge(Input, "x", 8)]),
        ],
        &[
            "no processor or `#[table(..)]` declares the table `b-state`: group `b` (app.rs:7) has no table:\n  A (lookup) at app.rs:5",
            "no processor or `#[table(..)]` declares the table `gone-state`:\n  A (join) at app.rs:4",
            "no processor or `#[table(..)]` declares the table `named`:\n  A (join) at app.rs:6",
        ],
    );
}

#[test]
fn tables_are_not_read_in_a_circle() {
    let stateful = |name: &str, line, shape, of: &str| {
        let table = edge(Table, &format!("{name}-state"), line);
        let edges = vec![edge(Input, "x", line), edge(shape, of, line + 1), table];
        group(name, line, edges)
    };
    finds(
        vec![
            stateful("a", 10, Join, "b-state"),
            stateful("b", 20, Join, "a-state"),
            stateful("c", 30, Lookup, "d-state"),
            stateful("d", 40, Join, "e-state"),
            stateful("e", 50, Join, "c-state"),
            // Leads into a circle, is not in it.
            stateful("f", 60, Join, "a-state"),
        ],
        &[
            "2 tables are read in a circle:\n  A reads `b-state` at app.rs:11,\n  B reads `a-state` at app.rs:21",
            "3 tables are read in a circle:\n  C reads `d-state` at app.rs:31,\n  D reads `e-state` at app.rs:41,\n  E reads `c-state` at app.rs:51",
        ],
    );
}

#[test]
fn a_group_reads_its_own_table_by_the_context() {
    finds(
        vec![group(
            "a",
            1,
            vec![
                edge(Input, "x", 2),
                edge(Table, "a-state", 1),
                edge(Lookup, "a-state", 3),
                edge(Input, "a-state", 4),
            ],
        )],
        &[
            "group `a` reads its own table `a-state` as another's:\n  A (lookup) at app.rs:3",
            "group `a` reads its own table `a-state` as another's:\n  A (input) at app.rs:4",
        ],
    );
}

#[test]
fn names_of_groups_are_not_streams() {
    finds(
        vec![
            group(
                "a",
                1,
                vec![
                    edge(Input, "b-loop", 2),
                    edge(Output, "b-visit", 3),
                    edge(Input, "b-state", 4),
                    edge(Input, "c-state", 5),
                    edge(Input, "d-state", 6),
                ],
            ),
            group("b", 7, vec![edge(Input, "x", 8), edge(Table, "b-state", 7)]),
            group("c", 9, vec![edge(Input, "x", 10)]),
        ],
        &[
            "the name `b-loop` belongs to group `b` (app.rs:7):\n  A (input) at app.rs:2",
            "the name `b-state` belongs to group `b` (app.rs:7):\n  A (input) at app.rs:4",
            "the name `b-visit` belongs to group `b` (app.rs:7):\n  A (output) at app.rs:3",
            "the name `c-state` belongs to group `c` (app.rs:9):\n  A (input) at app.rs:5",
        ],
    );
}

#[test]
fn every_finding_says_what_to_do() {
    let findings = Application::from(vec![
        group("a", 1, vec![edge(Join, "x-state", 2).of(TopicKind::Stream)]),
        group("a", 3, vec![edge(Output, "a-loop", 4)]),
    ])
    .validate();
    assert_eq!(findings.len(), 5, "{findings:?}");
    for finding in findings {
        let text = finding.to_string();
        assert!(
            text.contains(";\n  help: ") && text.contains("app.rs:"),
            "{text}"
        );
    }
}
