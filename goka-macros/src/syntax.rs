//! The attributes and items of the user, as far as they could be read: anything may be missing or wrong. Made by
//! `parse`, checked by `check`.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, GenericArgument, Generics, Ident, ItemFn, ItemImpl, ItemStruct, LitStr, Path,
    PathArguments, PathSegment, Type,
};

use crate::words::EdgeWord;

/// An option: its word and its value.
pub(crate) struct Arg<T> {
    pub(crate) word: Ident,
    pub(crate) value: T,
}

/// The options of `#[processor(..)]`.
#[derive(Default)]
pub(crate) struct ProcessorOptions {
    /// `crate = path`.
    pub(crate) root: Option<Path>,
    pub(crate) group: Option<Arg<LitStr>>,
    pub(crate) persist: Option<Arg<Type>>,
    pub(crate) name: Option<Arg<Ident>>,
    pub(crate) key: Option<Arg<Type>>,
    pub(crate) partitioner: Option<Arg<Type>>,
    pub(crate) codec: Option<Arg<Type>>,
    pub(crate) suffix: Option<Arg<LitStr>>,
    pub(crate) guarantee: Guarantee,
    /// Whether all of them could be read.
    pub(crate) complete: bool,
}

/// The arguments of `#[stream(..)]` or `#[table(..)]`.
#[derive(Default)]
pub(crate) struct TopicOptions {
    /// `crate = path`.
    pub(crate) root: Option<Path>,
    pub(crate) name: Option<LitStr>,
    pub(crate) key: Option<Arg<Type>>,
    pub(crate) value: Option<Arg<Type>>,
    pub(crate) partitions: Option<Arg<Expr>>,
    pub(crate) partitioner: Option<Arg<Type>>,
    pub(crate) codec: Option<Arg<Type>>,
    pub(crate) keyless: Option<Ident>,
    /// Whether all of them could be read.
    pub(crate) complete: bool,
}

/// A topic on a struct.
pub(crate) struct TopicSyntax {
    pub(crate) options: TopicOptions,
    pub(crate) item: ItemStruct,
    pub(crate) is_table: bool,
}

impl TopicSyntax {
    pub(crate) fn attribute(&self) -> &'static str {
        if self.is_table { "table" } else { "stream" }
    }
}

/// The topic that an edge names.
pub(crate) enum Target {
    Named(LitStr),
    Typed(Box<Type>),
}

impl Target {
    pub(crate) fn span(&self) -> Span {
        self.tokens().span()
    }

    pub(crate) fn tokens(&self) -> &dyn ToTokens {
        match self {
            Self::Named(name) => name,
            Self::Typed(ty) => ty.as_ref(),
        }
    }

    /// The type, when it is one.
    pub(crate) fn ty(&self) -> Option<&Type> {
        match self {
            Self::Named(_) => None,
            Self::Typed(ty) => Some(ty),
        }
    }

    /// As the user wrote it, for messages and comparisons.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Named(name) => name.value(),
            Self::Typed(ty) => type_text(ty),
        }
    }
}

/// A topic of an attribute of a processor; for a loopback or a visit the attribute alone.
pub(crate) struct EdgeSyntax {
    pub(crate) word: EdgeWord,
    /// The name of the attribute.
    pub(crate) at: Span,
    /// `None` for the group's own topics.
    pub(crate) target: Option<Target>,
    /// Where an input starts.
    pub(crate) start: Start,
    /// The name of a visit, if it is not its handler's.
    pub(crate) name: Option<LitStr>,
    /// The handler; `None` if its signature is wrong, which has been reported.
    pub(crate) handler: Option<HandlerSyntax>,
}

/// Where a new input starts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Start {
    #[default]
    Earliest,
    Latest,
}

/// The guarantee of a processor.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Guarantee {
    #[default]
    AtLeastOnce,
    ExactlyOnce,
}

/// The item of `#[processor]`, without the attributes of this crate and with its `Context`s completed.
pub(crate) enum Form {
    Function(ItemFn),
    Block(ItemImpl),
}

impl Form {
    pub(crate) fn attributes(&self) -> &[Attribute] {
        match self {
            Self::Function(function) => &function.attrs,
            Self::Block(block) => &block.attrs,
        }
    }

    /// The parameters of the processor's type.
    pub(crate) fn generics(&self) -> Option<&Generics> {
        let Self::Block(block) = self else {
            return None;
        };
        Some(&block.generics).filter(|generics| !generics.params.is_empty())
    }
}

/// A processor on a function or on an `impl`.
pub(crate) struct ProcessorSyntax {
    pub(crate) options: ProcessorOptions,
    /// The processor's type: `name`, the function's name in upper camel case, or that of the `impl`.
    pub(crate) this: Type,
    /// Its last segment.
    pub(crate) ident: Ident,
    pub(crate) form: Form,
    pub(crate) edges: Vec<EdgeSyntax>,
    /// Whether all attributes of edges could be read.
    pub(crate) edges_complete: bool,
    /// Topics that may have no keys; the `Context`s of their handlers refer to them by their index.
    pub(crate) keyings: Vec<Type>,
    /// Whether the group has keys although an input may be keyless, whose handlers get no key. Whether a topic type
    /// with parameters is keyless is not known here.
    pub(crate) may_rekey: bool,
}

/// A handler with a correct signature.
#[derive(Clone)]
pub(crate) struct HandlerSyntax {
    /// The function.
    pub(crate) name: Ident,
    /// The type of its value, without the reference of `by_ref`.
    pub(crate) value: Type,
    /// Whether it takes the value by reference.
    pub(crate) by_ref: bool,
    /// The place of its result type.
    pub(crate) returns: Span,
    pub(crate) is_async: bool,
    /// Whether it is a method of the `impl`, and not the function.
    pub(crate) is_method: bool,
    /// Whether it takes `&self`.
    pub(crate) takes_self: bool,
    /// The topic that decides whether its records have keys: its first input; `None` if others of its inputs have keys.
    pub(crate) keying: Option<Type>,
}

/// The codecs of the library whose values are of another type.
pub(crate) const WRAPPERS: &[&str] = &["Json", "Be", "Proto", "Avro"];

/// The type of a codec's values: the codec's own type, except for the [`WRAPPERS`]. The type system could tell, but
/// then every use of a missing codec would be an error. Other codecs for values of another type are given as
/// `codec = ..`.
pub(crate) fn bare(codec: &Type) -> Type {
    if let Type::Path(path) = codec
        && let Some(last) = path.path.segments.last()
        && WRAPPERS.iter().any(|wrapper| last.ident == wrapper)
        && let Some(value) = only_argument(last)
    {
        return value.clone();
    }
    codec.clone()
}

/// The `T` of `Json<T>` or `Option<T>`.
pub(crate) fn only_argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match (arguments.args.first(), arguments.args.len()) {
        (Some(GenericArgument::Type(only)), 1) => Some(only),
        _ => None,
    }
}

/// Removes the invisible group in which a `$t:ty` of a `macro_rules!` arrives.
pub(crate) fn ungroup(ty: Type) -> Type {
    match ty {
        Type::Group(group) => ungroup(*group.elem),
        other => other,
    }
}

/// A type as the user would write it.
pub(crate) fn type_text(ty: &impl ToTokens) -> String {
    let text = ty.to_token_stream().to_string();
    [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        (" : ", ": "),
        ("& ", "&"),
        (" ,", ","),
    ]
    .iter()
    .fold(text, |text, (long, short)| text.replace(long, short))
}
