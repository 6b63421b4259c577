//! What the user wrote, as far as it could be read: anything may be missing or wrong. Made by
//! parse, judged by check, used by fallback.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{
    Expr, GenericArgument, Ident, ItemFn, ItemStruct, LitStr, PathArguments, PathSegment, Type,
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
    pub(crate) group: Option<Arg<LitStr>>,
    pub(crate) persist: Option<Arg<Type>>,
    pub(crate) name: Option<Arg<Ident>>,
    pub(crate) key: Option<Arg<Type>>,
    pub(crate) partitioner: Option<Arg<Type>>,
    pub(crate) codec: Option<Arg<Type>>,
}

/// The arguments of `#[stream(..)]` or `#[table(..)]`.
#[derive(Default)]
pub(crate) struct TopicOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) key: Option<Arg<Type>>,
    pub(crate) value: Option<Arg<Type>>,
    pub(crate) partitions: Option<Arg<Expr>>,
    pub(crate) partitioner: Option<Arg<Type>>,
    pub(crate) codec: Option<Arg<Type>>,
    pub(crate) keyless: Option<Ident>,
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

/// What an edge names.
pub(crate) enum Target {
    Named(LitStr),
    Typed(Box<Type>),
}

impl Target {
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Named(name) => name.span(),
            Self::Typed(ty) => ty.span(),
        }
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

/// One target of one `#[input(..)]` or `#[output(..)]`.
pub(crate) struct EdgeSyntax {
    pub(crate) word: EdgeWord,
    pub(crate) target: Target,
}

/// A processor on a function.
pub(crate) struct ProcessorSyntax {
    pub(crate) options: ProcessorOptions,
    /// The name of the processor's type: `name`, or the function's in upper camel case.
    pub(crate) ident: Ident,
    /// The function without our attributes, its `Context` filled in.
    pub(crate) function: ItemFn,
    pub(crate) edges: Vec<EdgeSyntax>,
    /// `None` when its shape is wrong, which has been reported.
    pub(crate) handler: Option<HandlerSyntax>,
}

/// A handler of the right shape.
pub(crate) struct HandlerSyntax {
    /// The function.
    pub(crate) name: Ident,
    /// The type of its value, without the reference of `by_ref`.
    pub(crate) value: Type,
    /// Whether it takes the value by reference.
    pub(crate) by_ref: bool,
    /// Where its result type stands.
    pub(crate) returns: Span,
}

/// The codecs of the library that are for values of another type.
pub(crate) const WRAPPERS: &[&str] = &["Json", "Be", "Proto", "Avro"];

/// The type of the values that a codec stands for: itself, but for those [`WRAPPERS`]; asking the
/// type system instead would make every use of a missing codec an error. Others of the kind are
/// given as `codec = ..`.
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

/// Takes a type out of the invisible group that `$t:ty` arrives in.
pub(crate) fn ungroup(ty: Type) -> Type {
    match ty {
        Type::Group(group) => ungroup(*group.elem),
        other => other,
    }
}

/// A type as the user would write it.
pub(crate) fn type_text(ty: &Type) -> String {
    let text = ty.to_token_stream().to_string();
    [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        ("& ", "&"),
        (" ,", ","),
    ]
    .iter()
    .fold(text, |text, (long, short)| text.replace(long, short))
}
