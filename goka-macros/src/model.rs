//! What is right: made by check of [`Syntax`](crate::syntax), read by expand. No field of it is
//! "maybe invalid".

use syn::{Attribute, Expr, Ident, ItemFn, ItemStruct, LitStr, Type, Visibility};

use crate::syntax::{EdgeSyntax, HandlerSyntax, bare};
use crate::words::EdgeWord;

/// `#[stream(..)]` or `#[table(..)]`.
pub(crate) struct Topic {
    pub(crate) item: ItemStruct,
    pub(crate) name: LitStr,
    pub(crate) key: Option<Type>,
    pub(crate) value: Value,
    pub(crate) partitioner: Option<Type>,
    pub(crate) partitions: Option<Expr>,
    pub(crate) is_table: bool,
}

/// The values of a topic: their type and how they travel.
pub(crate) struct Value {
    /// What the user gave as `value = ..` or `persist = ..`.
    pub(crate) given: Type,
    /// What the user gave as `codec = ..`.
    pub(crate) codec: Option<Type>,
}

impl Value {
    /// The type of the values.
    pub(crate) fn bare(&self) -> Type {
        match &self.codec {
            Some(_) => self.given.clone(),
            None => bare(&self.given),
        }
    }
}

/// `#[processor(..)]` on a function.
pub(crate) struct Processor {
    /// The function, to be emitted as it is.
    pub(crate) function: ItemFn,
    pub(crate) ident: Ident,
    pub(crate) group: LitStr,
    /// The group table's values.
    pub(crate) persist: Option<Value>,
    pub(crate) key: Option<Type>,
    pub(crate) partitioner: Option<Type>,
    /// In the order in which they were declared; at least one input.
    pub(crate) edges: Vec<EdgeSyntax>,
    pub(crate) handler: HandlerSyntax,
}

impl Processor {
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &EdgeSyntax> {
        self.edges
            .iter()
            .filter(|edge| edge.word == EdgeWord::Input)
    }

    /// The types of all outputs.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &Type> {
        let outputs = self
            .edges
            .iter()
            .filter(|edge| edge.word == EdgeWord::Output);
        outputs.filter_map(|edge| edge.target.ty())
    }

    /// The first input that is a type: its key and its partitioner are the group's.
    pub(crate) fn first_typed(&self) -> Option<&Type> {
        self.inputs().find_map(|edge| edge.target.ty())
    }

    pub(crate) fn visibility(&self) -> &Visibility {
        &self.function.vis
    }

    /// The function's attributes of one kind.
    pub(crate) fn attributes(&self, path: &str) -> impl Iterator<Item = &Attribute> {
        let attributes = self.function.attrs.iter();
        attributes.filter(move |attribute| attribute.path().is_ident(path))
    }

    /// The group topic's name.
    pub(crate) fn table_name(&self) -> String {
        format!("{}-state", self.group.value())
    }

    /// The loop topic's name.
    pub(crate) fn loop_name(&self) -> String {
        format!("{}-loop", self.group.value())
    }
}
