//! The dispatch shims: from a raw record to a call of the handler.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Type, parse_quote};

use super::codec_of;
use crate::paths;
use crate::syntax::{HandlerSyntax, only_argument, ungroup};

/// The call of a handler, for an input that is a type or one of another kind.
///
/// A closure, which becomes a plain function: in the `impl` of the processor it knows `Self`.
pub(super) fn call(handler: &HandlerSyntax, topic: Option<&Type>) -> TokenStream {
    let private = paths::private();
    let parameter = &handler.value;
    // Hygienic names: a handler may have the name `raw`.
    let ours = |name| Ident::new(name, Span::mixed_site());
    let (shared, raw, ctx, value) = (ours("shared"), ours("raw"), ours("ctx"), ours("v"));
    let borrow = handler.by_ref.then(|| quote!(&));
    let mut arguments = quote!(&mut #ctx, #borrow #value);
    let mut state = quote!(_);
    if handler.takes_self {
        arguments = quote!(#private::this(#shared), #arguments);
        state = quote!(#shared);
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
    let enter = match topic {
        Some(topic) => {
            let enter = spanned(handler, "enter");
            quote!(#enter::<#topic, _, #parameter, _>(#raw))
        }
        None => {
            let (enter, codec) = (spanned(handler, "enter_named"), codec_of(&named(parameter)));
            quote!(#enter::<_, #parameter, _>(#raw, #codec))
        }
    };
    let body = quote! {
        let (mut #ctx, #value) = #enter?;
        #finish
    };
    if handler.is_async {
        quote!(#private::Call::Async(|#state, #raw| #private::handling(async move { #body })))
    } else {
        quote!(#private::Call::Sync(|#state, #raw| { #body }))
    }
}

/// What an edge has to know of a handler's parameter. It names the same types with the same spans as the shim, so that
/// rustc shows one error for both.
pub(super) fn parameter(handler: &HandlerSyntax, topic: Option<&Type>) -> TokenStream {
    let parameter = &handler.value;
    let span = parameter.span();
    match topic {
        Some(topic) => {
            let function = spanned(handler, "parameter");
            quote_spanned!(span=> #function::<#topic, _, #parameter>())
        }
        None => {
            let (function, codec) = (spanned(handler, "named"), codec_of(&named(parameter)));
            quote_spanned!(span=> #function::<_, #parameter>(#codec))
        }
    }
}

/// A function of the runtime, with the span of the handler's parameter.
fn spanned(handler: &HandlerSyntax, function: &str) -> TokenStream {
    let span = handler.value.span();
    let (private, function) = (paths::private_at(span), Ident::new(function, span));
    quote_spanned!(span=> #private::#function)
}

/// The codec that a parameter selects where no topic type names one.
pub(super) fn named(parameter: &Type) -> Type {
    match parameter {
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(_) => parse_quote!(::std::vec::Vec<u8>),
            _ => parse_quote!(__goka::String),
        },
        Type::Path(path) => match path.path.segments.last() {
            Some(last) if last.ident == "Option" => only_argument(last)
                .map_or_else(|| parameter.clone(), |some| named(&ungroup(some.clone()))),
            _ => parameter.clone(),
        },
        _ => parameter.clone(),
    }
}
