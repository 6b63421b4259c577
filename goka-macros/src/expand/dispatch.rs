//! The dispatch shims: from a raw record to a call of the handler.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Type, parse_quote};

use super::{codec_of, of_topic};
use crate::model;
use crate::paths;
use crate::syntax::{EdgeSyntax, Target, bare, only_argument, ungroup};

/// The name of a shim: one that no handler has, whose name is looked up beside it.
pub(super) fn shim_name(index: usize) -> Ident {
    format_ident!("__goka_input_{index}")
}

/// One function for each input.
pub(super) fn shims(processor: &model::Processor) -> TokenStream {
    let inputs = processor.inputs().enumerate();
    inputs
        .map(|(index, edge)| shim(processor, edge, &shim_name(index)))
        .collect()
}

fn shim(processor: &model::Processor, edge: &EdgeSyntax, name: &Ident) -> TokenStream {
    let private = paths::private();
    let ident = &processor.ident;
    let handler = &processor.handler;
    let function = &handler.name;
    let taker = taker(processor, edge);
    // Variables that only we can name: a handler may be called `value`.
    let ours = |name| Ident::new(name, Span::mixed_site());
    let (raw, context, value) = (ours("raw"), ours("context"), ours("value"));
    let borrow = handler.by_ref.then(|| quote!(&));
    let span = handler.returns;
    let private_there = paths::private_at(span);
    let arguments = quote!(&mut #context, #borrow #value);
    let call = quote_spanned!(span=> #private_there::Returns::finish(#function(#arguments)));
    quote! {
        fn #name<'r>(
            _: &'r #private::Shared,
            #raw: #private::Raw<'r>,
        ) -> ::core::result::Result<(), #private::HandlerError> {
            // The key comes first: a record of another group's has no value to complain about.
            let mut #context = #private::context::<#ident>(#raw)?;
            let #value = #taker.take(#context.record())?;
            #call
        }
    }
}

/// How the input's values become the handler's parameter. Written the same way, at the same place,
/// for the shim and for the edge: rustc shows one error for both.
pub(super) fn taker(processor: &model::Processor, edge: &EdgeSyntax) -> TokenStream {
    let parameter = &processor.handler.value;
    let span = parameter.span();
    let private = paths::private_at(span);
    let (value, codec) = match &edge.target {
        Target::Typed(topic) => (of_topic(topic, "Value"), of_topic(topic, "CODEC")),
        Target::Named(_) => {
            let codec = named(parameter);
            (bare(&codec).into_token_stream(), codec_of(&codec))
        }
    };
    quote_spanned!(span=> #private::taker::<#parameter, #value>(#codec))
}

/// The codec that a parameter selects for an input given by name.
fn named(parameter: &Type) -> Type {
    match parameter {
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(_) => parse_quote!(::std::vec::Vec<u8>),
            _ => parse_quote!(::std::string::String),
        },
        Type::Path(path) => match path.path.segments.last() {
            Some(last) if last.ident == "Option" => only_argument(last)
                .map_or_else(|| parameter.clone(), |some| named(&ungroup(some.clone()))),
            _ => parameter.clone(),
        },
        _ => parameter.clone(),
    }
}
