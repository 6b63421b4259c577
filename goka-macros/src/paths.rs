//! The paths that generated code names: absolute, so that nothing in the user's scope matters.

use proc_macro2::TokenStream;
use quote::quote;

/// The plumbing module of the runtime, through the facade.
pub(crate) fn private() -> TokenStream {
    quote!(::goka::__private)
}

/// The key type where none is given.
pub(crate) fn string() -> TokenStream {
    quote!(::std::string::String)
}

/// The partitioner where none is given.
pub(crate) fn murmur2() -> TokenStream {
    quote!(::goka::__private::Murmur2)
}
