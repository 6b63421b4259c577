//! The order in which the groups of a program start. Pure.

use super::Definition;

/// Sorts the processors so that a group starts before the groups that read its table: a group makes the topic
/// of its table when it starts, and a group that reads a topic that does not exist is refused. Otherwise the
/// order is as given.
pub(crate) fn start_order(mut left: Vec<&'static Definition>) -> Vec<&'static Definition> {
    let mut ordered = Vec::new();
    while !left.is_empty() {
        // Groups that are inputs of each other have no such order: any of them may be next.
        let next = left.iter().position(|definition| !waits(definition, &left));
        ordered.push(left.remove(next.unwrap_or(0)));
    }
    ordered
}

fn waits(definition: &Definition, left: &[&'static Definition]) -> bool {
    left.iter().any(|other| {
        let mut tables = other.graph.table().into_iter();
        let is_other = other.graph.group != definition.graph.group;
        is_other && tables.any(|table| definition.graph.reads(table.topic.name))
    })
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use super::*;
    use crate::codec::format_of;
    use crate::graph::{Edge, EdgeKind, GroupGraph, Location, TopicKind, TopicSpec};
    use crate::partitioner::{Murmur2, Partitioner};
    use crate::record::Guarantee;

    const HERE: Location = Location {
        file: file!(),
        line: line!(),
        column: 1,
    };

    const fn edge(kind: EdgeKind, name: &'static str) -> Edge {
        Edge {
            kind,
            topic: TopicSpec {
                name,
                kind: TopicKind::Stream,
                key: format_of::<String>(),
                value: format_of::<String>(),
                partitioner: Murmur2::NAME,
                partition_of: Murmur2::partition,
                partitions: None,
            },
            location: HERE,
        }
    }

    const fn group(group: &'static str, edges: &'static [Edge]) -> Definition {
        Definition {
            graph: GroupGraph {
                name: group,
                group,
                location: HERE,
                guarantee: Guarantee::AtLeastOnce,
                edges,
            },
            make: None,
            type_id: TypeId::of::<()>,
        }
    }

    #[test]
    fn groups_start_before_the_readers_of_their_tables() {
        static A: Definition = group(
            "a",
            &[
                edge(EdgeKind::Join, "b-state"),
                edge(EdgeKind::Table, "a-state"),
            ],
        );
        static B: Definition = group(
            "b",
            &[
                edge(EdgeKind::Lookup, "d-state"),
                edge(EdgeKind::Table, "b-state"),
            ],
        );
        static C: Definition = group("c", &[edge(EdgeKind::Join, "elsewhere")]);
        static D: Definition = group("d", &[edge(EdgeKind::Table, "d-state")]);
        let order = start_order(vec![&A, &B, &C, &D]);
        let groups: Vec<_> = order
            .iter()
            .map(|definition| definition.graph.group)
            .collect();
        assert_eq!(groups, ["c", "d", "b", "a"]);
    }

    #[test]
    fn groups_in_a_circle_all_start() {
        static A: Definition = group(
            "a",
            &[
                edge(EdgeKind::Join, "b-state"),
                edge(EdgeKind::Table, "a-state"),
            ],
        );
        static B: Definition = group(
            "b",
            &[
                edge(EdgeKind::Join, "a-state"),
                edge(EdgeKind::Table, "b-state"),
            ],
        );
        assert_eq!(start_order(vec![&A, &B]).len(), 2);
    }
}
