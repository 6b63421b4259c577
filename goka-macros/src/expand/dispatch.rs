//! The dispatch shims: from a raw record to a call of the handler.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::{at, of_topic};
use crate::model;
use crate::paths;
use crate::syntax::{EdgeSyntax, Target};

pub(super) fn shim_name(index: usize) -> Ident {
    format_ident!("input_{index}")
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
    let value = if handler.by_ref {
        quote!(&value)
    } else {
        quote!(value)
    };
    let span = at(handler.returns);
    let call = quote_spanned!(span=> #private::Returns::finish(#function(&mut context, #value)));
    quote! {
        fn #name<'r>(
            _: &'r #private::Shared,
            raw: #private::Raw<'r>,
        ) -> ::core::result::Result<(), #private::HandlerError> {
            // The key comes first: a record of another group's has no value to complain about.
            let mut context = #private::context::<#ident>(raw)?;
            let value = #taker.take(context.record())?;
            #call
        }
    }
}

/// How the input's values become the handler's parameter. Written the same way, at the same place,
/// for the shim and for the edge: rustc shows one error for both.
pub(super) fn taker(processor: &model::Processor, edge: &EdgeSyntax) -> TokenStream {
    let private = paths::private();
    let value = &processor.handler.value;
    let span = at(value.span());
    match &edge.target {
        Target::Typed(topic) => {
            let codec = of_topic(topic, "CODEC");
            quote_spanned!(span=> #private::taker::<#value, _>(#codec))
        }
        Target::Named(_) => quote_spanned!(span=> #private::taker_named::<#value>()),
    }
}
