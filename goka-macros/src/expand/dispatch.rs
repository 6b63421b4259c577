//! The dispatch shims: from a raw record to a call of the handler.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Type, parse_quote};

use super::{codec_of, of_topic};
use crate::paths;
use crate::syntax::{HandlerSyntax, bare, only_argument, ungroup};

/// The call of a handler. `handler_input` makes its parameter from the record's value.
///
/// A closure, which becomes a plain function: in the `impl` of the processor it knows `Self`.
pub(super) fn call(handler: &HandlerSyntax, handler_input: &TokenStream) -> TokenStream {
    let private = paths::private();
    // Hygienic names: a handler may have the name `value`.
    let ours = |name| Ident::new(name, Span::mixed_site());
    let (shared, raw) = (ours("shared"), ours("raw"));
    let (context, value) = (ours("context"), ours("value"));
    let borrow = handler.by_ref.then(|| quote!(&));
    let mut arguments = quote!(&mut #context, #borrow #value);
    let mut parameter = quote!(_);
    if handler.takes_self {
        arguments = quote!(#private::this(#shared), #arguments);
        parameter = quote!(#shared);
    }
    // The whole call has the span of the return type, so that errors about that type are shown there.
    let span = handler.returns;
    let private_there = paths::private_at(span);
    let mut name = handler.name.clone();
    name.set_span(name.span().located_at(span));
    let function = if handler.is_method {
        quote_spanned!(span=> Self::#name)
    } else {
        quote!(#name)
    };
    let wait = handler.is_async.then(|| quote_spanned!(span=> .await));
    let finish =
        quote_spanned!(span=> #private_there::Returns::finish(#function(#arguments) #wait));
    let body = quote! {
        let (mut #context, #value) = #handler_input.enter(#raw)?;
        #finish
    };
    if handler.is_async {
        quote!(#private::Call::Async(|#parameter, #raw| #private::handling(async move { #body })))
    } else {
        quote!(#private::Call::Sync(|#parameter, #raw| { #body }))
    }
}

/// The conversion of an input's values to the handler's parameter. It is the same, with the same span, for the shim
/// and for the edge, so that rustc shows one error for both.
pub(super) fn handler_input(handler: &HandlerSyntax, topic: Option<&Type>) -> TokenStream {
    let parameter = &handler.value;
    let span = parameter.span();
    let private = paths::private_at(span);
    let (value, codec) = match topic {
        Some(topic) => (of_topic(topic, "Value"), of_topic(topic, "CODEC")),
        None => {
            let codec = named(parameter);
            (bare(&codec).into_token_stream(), codec_of(&codec))
        }
    };
    quote_spanned!(span=> #private::handler_input::<Self, #parameter, #value>(#codec))
}

/// The codec that a parameter selects where no topic type names one.
pub(crate) fn named(parameter: &Type) -> Type {
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
