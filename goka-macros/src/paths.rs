//! The paths that generated code names: absolute, so that nothing in the user's scope matters.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;

/// The plumbing module of the runtime, through the facade.
pub(crate) fn private() -> TokenStream {
    private_at(Span::call_site())
}

/// The same, for code whose errors belong to a place in the user's source: rustc shows the span
/// from the first token to the last.
pub(crate) fn private_at(span: Span) -> TokenStream {
    quote_spanned!(span=> ::goka::__private)
}

/// The key type where none is given.
pub(crate) fn string() -> TokenStream {
    quote!(::std::string::String)
}

/// The key type of a stream without keys.
pub(crate) fn no_key(span: Span) -> Type {
    let private = private_at(span);
    syn::parse_quote_spanned!(span=> #private::NoKey)
}

/// The partitioner where none is given.
pub(crate) fn murmur2() -> TokenStream {
    quote!(::goka::__private::Murmur2)
}
