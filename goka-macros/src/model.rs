//! Attributes and items as they are expanded: made by `check` from [`Syntax`](crate::syntax), read by `expand`. No
//! field is "maybe invalid": what is missing or wrong is left out or replaced, and has been reported.

use proc_macro2::Span;
use syn::{Attribute, Expr, Ident, ItemStruct, LitStr, Path, Type};

use crate::syntax::{Form, Guarantee, HandlerSyntax, Start, Target, bare};
use crate::words::LOOP;

/// `#[stream(..)]` or `#[table(..)]`.
pub(crate) struct Topic {
    /// The path of the crate `goka`, if it is not that.
    pub(crate) root: Option<Path>,
    pub(crate) item: ItemStruct,
    pub(crate) name: LitStr,
    pub(crate) key: Option<Type>,
    pub(crate) value: Value,
    pub(crate) partitioner: Option<Type>,
    pub(crate) partitions: Option<Expr>,
    pub(crate) is_table: bool,
}

/// The values of a topic: their type and their codec.
pub(crate) struct Value {
    /// The type in `value = ..` or `persist = ..`.
    pub(crate) given: Type,
    /// The type in `codec = ..`.
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

/// `#[processor(..)]` on a function or on an `impl`.
pub(crate) struct Processor {
    /// See [`Topic::root`].
    pub(crate) root: Option<Path>,
    /// The function or the `impl`, to be emitted as it is.
    pub(crate) form: Form,
    /// The processor's type.
    pub(crate) this: Type,
    /// Its last segment.
    pub(crate) ident: Ident,
    pub(crate) group: LitStr,
    /// The group table's values.
    pub(crate) persist: Option<Value>,
    pub(crate) key: Option<Type>,
    pub(crate) partitioner: Option<Type>,
    /// The end of the group topic's name, after the group.
    pub(crate) suffix: String,
    pub(crate) guarantee: Guarantee,
    /// In the order in which they were declared.
    pub(crate) edges: Vec<Edge>,
    /// See [`ProcessorSyntax`](crate::syntax::ProcessorSyntax).
    pub(crate) keyings: Vec<Type>,
    /// The same.
    pub(crate) may_rekey: bool,
    /// Whether there are no mistakes. With some it gets only the impls that prevent follow-on errors of rustc.
    pub(crate) is_sound: bool,
}

/// An edge of a processor.
pub(crate) enum Edge {
    Input(Input),
    /// An input whose handler has a wrong signature.
    UnhandledInput(Type),
    Output(Type),
    Join(Type),
    Lookup(Type),
    Loopback(Own),
    /// A loopback whose handler has a wrong signature: the type of its values is not known.
    UnhandledLoopback,
    /// With its name.
    Visit(Own, LitStr),
}

/// One topic of one handler.
pub(crate) struct Input {
    pub(crate) target: Target,
    pub(crate) start: Start,
    pub(crate) handler: HandlerSyntax,
}

/// A handler of one of the group's own topics.
pub(crate) struct Own {
    /// The place of its attribute.
    pub(crate) at: Span,
    pub(crate) handler: HandlerSyntax,
}

impl Processor {
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.edges.iter().filter_map(|edge| match edge {
            Edge::Input(input) => Some(input),
            _ => None,
        })
    }

    /// The inputs that are types.
    pub(crate) fn topics(&self) -> Vec<&Type> {
        let topics = self.edges.iter().filter_map(|edge| match edge {
            Edge::Input(input) => input.target.ty(),
            Edge::UnhandledInput(topic) => Some(topic),
            _ => None,
        });
        topics.collect()
    }

    /// The first input that is a type: its key and its partitioner are the group's.
    pub(crate) fn first_typed(&self) -> Option<&Type> {
        self.topics().first().copied()
    }

    pub(crate) fn has_loopback(&self) -> bool {
        let mut edges = self.edges.iter();
        edges.any(|edge| matches!(edge, Edge::Loopback(_) | Edge::UnhandledLoopback))
    }

    /// Whether a key has to lie in one partition of all inputs.
    pub(crate) fn is_copartitioned(&self) -> bool {
        let mut edges = self.edges.iter();
        self.persist.is_some() || edges.any(|edge| matches!(edge, Edge::Join(_)))
    }

    /// The attributes of one kind on what `#[processor]` stands on.
    pub(crate) fn attributes(&self, path: &str) -> impl Iterator<Item = &Attribute> {
        let attributes = self.form.attributes().iter();
        attributes.filter(move |attribute| attribute.path().is_ident(path))
    }

    /// The group topic's name.
    pub(crate) fn table_name(&self) -> String {
        format!("{}{}", self.group.value(), self.suffix)
    }

    /// The loop topic's name.
    pub(crate) fn loop_name(&self) -> String {
        format!("{}{LOOP}", self.group.value())
    }
}
