//! Two definitions of a table side by side: which one follows from the other without harm, and what
//! else changed between them, as text for users. Pure text; the definitions are
//! [`fingerprint`](crate::graph::TopicSpec::fingerprint)s.

use super::metadata::fingerprint_hash;
use crate::schema::split;

/// Whether a copy or offsets of the definition `found` may be used by one of `expected`: the same, or
/// the same but for the shape of its JSON, of which nothing was recorded then.
pub(super) fn follows(found: &str, expected: &str) -> bool {
    found == expected || found == opaque(expected)
}

/// [`follows`], where only the hash is left of what was found.
pub(crate) fn hash_follows(found: u64, expected: &str) -> bool {
    found == fingerprint_hash(expected) || found == fingerprint_hash(&opaque(expected))
}

/// The definition without the shape of its JSON.
fn opaque(definition: &str) -> String {
    let parts = definition
        .split(';')
        .map(|part| match part.split_once(':') {
            Some((head, _)) if head.ends_with("=json") => head,
            _ => part,
        });
    parts.collect::<Vec<_>>().join(";")
}

/// What changed between two definitions, as a list in words.
pub(super) fn changes(found: &str, expected: &str) -> String {
    let mut changes = Vec::new();
    let (before, now) = (named(found), named(expected));
    for (name, before) in &before {
        match now.iter().find(|(other, _)| other == name) {
            Some((_, now)) if now == before => {}
            Some((_, now)) => part(name, before, now, &mut changes),
            None => changes.push(format!("{name} was `{before}`, now there is none")),
        }
    }
    for (name, now) in &now {
        if before.iter().all(|(other, _)| other != name) {
            changes.push(format!("{name} is `{now}`, before there was none"));
        }
    }
    if changes.is_empty() {
        return format!("`{found}` became `{expected}`");
    }
    changes.join("; ")
}

/// `key=utf8` as `("key", "utf8")`; the version has no `=`.
fn named(definition: &str) -> Vec<(&str, &str)> {
    let parts = definition.split(';');
    parts
        .map(|part| part.split_once('=').unwrap_or(("version", part)))
        .collect()
}

fn part(name: &str, before: &str, now: &str, changes: &mut Vec<String>) {
    if let (Some(before), Some(now)) = (before.strip_prefix("json:"), now.strip_prefix("json:")) {
        return shape(name, before, now, changes);
    }
    changes.push(format!("{name} was `{before}`, now is `{now}`"));
}

fn shape(path: &str, before: &str, now: &str, changes: &mut Vec<String>) {
    if before == now {
        return;
    }
    let (Some(old), Some(new)) = (fields(before), fields(now)) else {
        return changes.push(format!("{path} was `{before}`, now is `{now}`"));
    };
    for (name, before) in &old {
        match new.iter().find(|(other, _)| other == name) {
            Some((_, now)) => shape(&format!("{path}.{name}"), before, now, changes),
            None => changes.push(format!("{path}.{name} (`{before}`) is gone")),
        }
    }
    for (name, now) in &new {
        if old.iter().all(|(other, _)| other != name) {
            changes.push(format!("{path}.{name} (`{now}`) is new"));
        }
    }
}

/// The fields of an object.
fn fields(shape: &str) -> Option<Vec<(String, String)>> {
    let fields = shape.strip_prefix('{')?.strip_suffix('}')?;
    let field = |field: &String| match field.split_once(':') {
        Some((name, shape)) => (name.to_owned(), shape.to_owned()),
        None => (field.clone(), String::new()),
    };
    Some(split(fields).iter().map(field).collect())
}

/// What changed, as far as it can be known when only the hash is left: definitions that differ in
/// one part, and have there what comes with the library.
pub(crate) fn changes_of_hash(found: u64, expected: &str) -> String {
    const PARTITIONERS: &[&str] = &["murmur2", "fnv1a", "crc32"];
    const CODECS: &[&str] = &[
        "utf8",
        "integer",
        "bytes",
        "bool",
        "unit",
        "uuid",
        "json",
        "protobuf",
        "avro",
        "be-int64",
        "be-int32",
        "be-int16",
        "be-float64",
        "be-float32",
    ];
    let parts: Vec<_> = expected.split(';').collect();
    for (at, part) in parts.iter().enumerate() {
        let (name, others) = match part.split_once('=') {
            Some((name @ ("key" | "value"), _)) => (name, CODECS),
            Some((name @ "partitioner", _)) => (name, PARTITIONERS),
            _ => continue,
        };
        for other in others {
            let other = format!("{name}={other}");
            let mut guess = parts.clone();
            guess[at] = &other;
            let guess = guess.join(";");
            if fingerprint_hash(&guess) == found {
                return changes(&guess, expected);
            }
        }
    }
    format!(
        "only the hash {found:016x} of that definition is known; this program's is `{expected}`"
    )
}

#[cfg(test)]
mod tests {
    use super::{changes, changes_of_hash, follows, hash_follows};
    use crate::core::metadata::fingerprint_hash;

    const SHAPED: &str =
        "v1;key=utf8;value=json:{a:integer,b:{c:string,d:[^1]}};partitioner=murmur2";

    #[test]
    fn changes_are_listed_part_by_part() {
        let simple = "v1;key=utf8;value=integer;partitioner=murmur2";
        for (found, expected, text) in [
            (
                "v1;key=integer;value=integer;partitioner=fnv1a",
                simple,
                "key was `integer`, now is `utf8`; partitioner was `fnv1a`, now is `murmur2`",
            ),
            (
                "v1;key=utf8;value=json:{a:string,b:{c:string},e:bool};partitioner=murmur2",
                SHAPED,
                "value.a was `string`, now is `integer`; value.b.d (`[^1]`) is new; \
                 value.e (`bool`) is gone",
            ),
            (
                SHAPED,
                "v1;key=utf8;value=json:[string];partitioner=murmur2",
                "value was `{a:integer,b:{c:string,d:[^1]}}`, now is `[string]`",
            ),
            (
                SHAPED,
                "v1;key=utf8;value=json;partitioner=murmur2",
                "value was `json:{a:integer,b:{c:string,d:[^1]}}`, now is `json`",
            ),
            (
                "v0;key=utf8",
                "v1;key=utf8",
                "version was `v0`, now is `v1`",
            ),
            (
                "",
                simple,
                "version was ``, now is `v1`; key is `utf8`, before there was none; \
                          value is `integer`, before there was none; \
                          partitioner is `murmur2`, before there was none",
            ),
            (
                "v1;key=a;key=a",
                "v1;key=a",
                "`v1;key=a;key=a` became `v1;key=a`",
            ),
        ] {
            assert_eq!(changes(found, expected), text);
        }
    }

    #[test]
    fn a_shape_may_be_added_and_not_be_taken_away() {
        let opaque = "v1;key=utf8;value=json;partitioner=murmur2";
        assert!(follows(SHAPED, SHAPED));
        assert!(follows(opaque, SHAPED));
        assert!(!follows(SHAPED, opaque));
        assert!(!follows(
            "v1;key=utf8;value=utf8;partitioner=murmur2",
            SHAPED
        ));
        assert!(hash_follows(fingerprint_hash(opaque), SHAPED));
        assert!(!hash_follows(fingerprint_hash(SHAPED), opaque));
    }

    #[test]
    fn a_hash_is_explained_as_far_as_it_can_be_guessed() {
        let fnv = fingerprint_hash("v1;key=utf8;value=integer;partitioner=fnv1a");
        let now = "v1;key=utf8;value=integer;partitioner=murmur2";
        assert_eq!(
            changes_of_hash(fnv, now),
            "partitioner was `fnv1a`, now is `murmur2`"
        );
        let text = changes_of_hash(1, now);
        assert!(
            text.contains("0000000000000001") && text.contains(now),
            "{text}"
        );
    }
}
