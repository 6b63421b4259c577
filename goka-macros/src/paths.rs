//! The paths in generated code: absolute, so that they do not depend on the user's scope.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;

/// The module of the runtime for generated code, through the facade.
pub(crate) fn private() -> TokenStream {
    private_at(Span::call_site())
}

/// The same, for code whose errors are shown at a place in the user's source: rustc takes the span from the first
/// token to the last.
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
