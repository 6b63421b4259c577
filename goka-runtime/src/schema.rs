//! The shape of values as text: the names and types of fields in JSON, never the names of Rust types. It is a part
//! of a table's fingerprint. Knows nothing of topics.

mod std_types;

use std::any::TypeId;
use std::fmt::Write as _;

/// A type whose shape in JSON is known. With it the fingerprint of a table of `Json<T>` has the names and types of
/// the fields of `T`.
///
/// The shape is that of the JSON, so renaming or moving a type, or reordering its fields, does not change it.
/// `#[derive(goka::Schema)]` implements it for types that derive `Serialize` and `Deserialize`. Implement it by
/// hand for types whose serde impls are written by hand:
///
/// ```
/// # use goka_runtime as goka;
/// use goka::schema::{Describer, Schema};
///
/// struct Money(u64);
///
/// impl Schema for Money {
///     fn describe(to: &mut Describer) {
///         to.object(|fields| {
///             fields.add("currency", |to| to.of::<String>());
///             fields.add("cents", |to| to.of::<u64>());
///         });
///     }
/// }
///
/// assert_eq!(Describer::text_of::<Vec<Money>>(), "[{cents:integer,currency:string}]");
/// ```
#[diagnostic::on_unimplemented(
    message = "the shape of `{Self}` is not known",
    label = "no `goka::Schema`",
    note = "add `#[derive(goka::Schema)]` to `{Self}`, or `#[schema(opaque)]` to the field"
)]
pub trait Schema: 'static {
    /// Writes the shape.
    fn describe(to: &mut Describer);
}

/// After so many bytes no more types are written out: a type is written out at each of its uses, so the text of
/// nested types could grow exponentially.
const LIMIT: usize = 64 << 10;

/// Writes shapes: see [`Schema`].
///
/// | JSON | text |
/// | --- | --- |
/// | text, number, true or false, null, anything | `string`, `integer`, `number`, `bool`, `null`, `any` |
/// | an object with these fields, sorted | `{id:integer,name:string}` |
/// | a list, a list of exactly these, a map | `[string]`, `(string,integer)`, `map(string,integer)` |
/// | something or null | `string?` |
/// | one of these, sorted | `<Closed\|Open:{by:string}>` |
/// | the same type as the object, list or choice one level up, or two levels up | `^1`, `^2` |
#[derive(Debug, Default)]
pub struct Describer {
    text: String,
    written: usize,
    /// The types that are being written, each with its depth.
    open: Vec<(TypeId, usize)>,
    shapes: usize,
}

impl Describer {
    /// The shape of one type.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::schema::Describer;
    ///
    /// assert_eq!(Describer::text_of::<Option<i64>>(), "integer?");
    /// ```
    pub fn text_of<T: Schema>() -> String {
        let mut describer = Self::default();
        describer.of::<T>();
        describer.text
    }

    /// Returns the text.
    pub fn finish(self) -> String {
        self.text
    }

    /// Writes a word; characters that have a meaning in a shape or a fingerprint are escaped.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::schema::Describer;
    ///
    /// let mut describer = Describer::default();
    /// describer.word("a;b");
    /// assert_eq!(describer.finish(), r"a\u{3b}b");
    /// ```
    pub fn word(&mut self, word: &str) {
        let plain = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
        for c in word.chars() {
            if plain(c) {
                self.text.push(c);
            } else {
                write!(self.text, "\\u{{{:x}}}", u32::from(c)).expect("a string takes all text");
            }
        }
        self.written += word.len();
    }

    /// Writes the shape of another type. A type that is being written already is only referred to, so types may
    /// contain themselves.
    pub fn of<T: Schema + ?Sized>(&mut self) {
        let id = TypeId::of::<T>();
        if let Some((_, around)) = self.open.iter().rev().find(|(open, _)| *open == id) {
            let up = self.shapes - around;
            return self.raw(&format!("^{up}"));
        }
        if self.written > LIMIT {
            return self.raw("..");
        }
        self.open.push((id, self.shapes));
        T::describe(self);
        self.open.pop();
    }

    /// Writes an object's fields, sorted by name.
    pub fn object(&mut self, fill: impl FnOnce(&mut Parts<'_>)) {
        self.parts(["{", ",", "}"], true, fill);
    }

    /// Writes a list with a fixed number of items, each of its own shape.
    pub fn tuple(&mut self, fill: impl FnOnce(&mut Parts<'_>)) {
        self.parts(["(", ",", ")"], false, fill);
    }

    /// Writes alternatives.
    pub fn choice(&mut self, tag: Tag<'_>, fill: impl FnOnce(&mut Parts<'_>)) {
        self.raw("<");
        match tag {
            Tag::Outside => {}
            Tag::Inside(tag) => {
                self.raw("@");
                self.word(tag);
                self.raw("|");
            }
            Tag::Beside(tag, content) => {
                self.raw("@");
                self.word(tag);
                self.raw("@");
                self.word(content);
                self.raw("|");
            }
            Tag::None => self.raw("@|"),
        }
        self.parts(["", "|", ">"], !matches!(tag, Tag::None), fill);
    }

    /// Writes a list of any length.
    pub fn list<T: Schema>(&mut self) {
        self.raw("[");
        self.shapes += 1;
        self.of::<T>();
        self.shapes -= 1;
        self.raw("]");
    }

    /// Writes a map.
    pub fn map<K: Schema, V: Schema>(&mut self) {
        self.raw("map");
        self.tuple(|parts| {
            parts.item(|to| to.of::<K>());
            parts.item(|to| to.of::<V>());
        });
    }

    /// Writes something that may be null.
    pub fn optional<T: Schema>(&mut self) {
        self.of::<T>();
        self.raw("?");
    }

    /// Writes text without escapes.
    pub(crate) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.written += text.len();
    }

    fn parts(
        &mut self,
        [open, separator, close]: [&str; 3],
        is_sorted: bool,
        fill: impl FnOnce(&mut Parts<'_>),
    ) {
        let before = std::mem::take(&mut self.text);
        self.shapes += 1;
        let mut parts = Parts {
            parts: Vec::new(),
            to: self,
        };
        fill(&mut parts);
        let mut parts = parts.parts;
        self.shapes -= 1;
        if is_sorted {
            parts.sort();
        }
        self.text = before;
        self.text.push_str(open);
        self.text.push_str(&parts.join(separator));
        self.text.push_str(close);
    }
}

/// Where the name of an alternative stands in JSON: serde's four representations of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag<'t> {
    /// Around its content, or alone: `{"Open": {..}}`.
    Outside,
    /// In a field of its own among those of the content.
    Inside(&'t str),
    /// In a field beside the one with the content.
    Beside(&'t str, &'t str),
    /// Nowhere: the first alternative that fits is read.
    None,
}

/// The fields of an object, the items of a list, the alternatives of a choice.
#[derive(Debug)]
pub struct Parts<'d> {
    parts: Vec<String>,
    to: &'d mut Describer,
}

impl Parts<'_> {
    /// Adds an item with a name and a content.
    pub fn add(&mut self, name: &str, content: impl FnOnce(&mut Describer)) {
        self.item(|to| {
            to.word(name);
            to.raw(":");
            content(to);
        });
    }

    /// Adds an alternative that is only a name.
    pub fn name(&mut self, name: &str) {
        self.item(|to| to.word(name));
    }

    /// Adds an item without a name.
    pub fn item(&mut self, content: impl FnOnce(&mut Describer)) {
        content(self.to);
        self.parts.push(std::mem::take(&mut self.to.text));
    }

    /// Adds the fields of another type, as serde's `flatten` does.
    pub fn flatten<T: Schema>(&mut self) {
        self.item(|to| to.of::<T>());
        let text = self.parts.pop().expect("it was added");
        match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(fields) => self.parts.extend(split(fields)),
            None => self.parts.push(format!("..{text}")),
        }
    }
}

/// Splits a list at the commas that are not within brackets.
pub(crate) fn split(parts: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in parts.char_indices() {
        match c {
            '{' | '(' | '[' | '<' => depth += 1,
            '}' | ')' | ']' | '>' => depth -= 1,
            ',' if depth == 0 => {
                found.push(parts[start..at].to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < parts.len() {
        found.push(parts[start..].to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Describer, Schema, Tag, split};

    struct Tree;

    impl Schema for Tree {
        fn describe(to: &mut Describer) {
            to.object(|fields| {
                fields.add("name", |to| to.of::<String>());
                fields.add("left", |to| to.of::<Option<Box<Self>>>());
                fields.add("children", |to| to.of::<Vec<Self>>());
                fields.add("by name", |to| to.of::<BTreeMap<String, Self>>());
            });
        }
    }

    struct Endless;

    impl Schema for Endless {
        fn describe(to: &mut Describer) {
            to.of::<Option<Box<Self>>>();
        }
    }

    struct Outer;

    impl Schema for Outer {
        fn describe(to: &mut Describer) {
            to.choice(Tag::Inside("type"), |parts| {
                parts.name("Unit");
                parts.add("Tree", |to| {
                    to.object(|fields| {
                        fields.flatten::<Tree>();
                        fields.flatten::<BTreeMap<String, i64>>();
                        fields.add("a:b", |to| to.of::<(u8, f64)>());
                    });
                });
            });
        }
    }

    /// Each in two places of the one after it.
    struct Twice<T>(T);

    impl<T: Schema> Schema for Twice<T> {
        fn describe(to: &mut Describer) {
            to.tuple(|parts| {
                parts.item(|to| to.of::<T>());
                parts.item(|to| to.of::<T>());
            });
        }
    }

    #[test]
    fn shapes_are_text() {
        let tree = "{by name:map(string,^2),children:[^2],left:^1?,name:string}";
        assert_eq!(Describer::text_of::<Tree>(), tree);
        assert_eq!(Describer::text_of::<Endless>(), "^0?");
        let fields = "..map(string,integer),a\\u{3a}b:(integer,number),by name:map(string,^2),\
                      children:[^2],left:^1?,name:string";
        assert_eq!(
            Describer::text_of::<Outer>(),
            format!("<@type|Tree:{{{fields}}}|Unit>")
        );
    }

    #[test]
    fn a_text_has_a_limit() {
        type Four<T> = Twice<Twice<Twice<Twice<T>>>>;
        type Many<T> = Four<Four<Four<Four<T>>>>;
        let text = Describer::text_of::<Many<Many<String>>>();
        assert!(text.len() < 400_000, "{}", text.len());
    }

    #[test]
    fn parts_keep_their_brackets() {
        assert_eq!(
            split("a:{b:(c,d),e:f},g:<h|i>"),
            ["a:{b:(c,d),e:f}", "g:<h|i>"]
        );
        assert!(split("").is_empty());
    }
}
