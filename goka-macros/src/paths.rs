//! The paths in generated code. They do not depend on the user's scope: each block of generated code begins with an
//! alias of the runtime's module for it, and the alias has a name that nobody uses.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Path, Type};

/// The module of the runtime for generated code, as seen from outside of a [`block`]. `root` is the path of the crate
/// `goka`, where it has another name.
pub(crate) fn module(root: Option<&Path>) -> TokenStream {
    let version = version();
    match root {
        Some(root) => quote!(#root::__private::#version),
        None => quote!(::goka::__private::#version),
    }
}

/// The version of this crate as a name. The runtime has a module of this name; if it is of another version, rustc
/// says which one is missing.
fn version() -> Ident {
    let version = env!("CARGO_PKG_VERSION").replace(['.', '-', '+'], "_");
    format_ident!("macros_{version}")
}

/// Generated items: in a block of their own, where [`private`] is the runtime's module.
pub(crate) fn block(root: Option<&Path>, items: &TokenStream) -> TokenStream {
    let module = module(root);
    quote! {
        // A handler may be deprecated, or use deprecated items.
        #[allow(deprecated, unused_imports)]
        const _: () = {
            use #module::{self as __goka, ProbeFallback as _};
            #items
        };
    }
}

/// The runtime's module in a [`block`].
pub(crate) fn private() -> TokenStream {
    private_at(Span::call_site())
}

/// The same, for code whose errors are shown at a place in the user's source: rustc takes the span from the first
/// token to the last.
pub(crate) fn private_at(span: Span) -> TokenStream {
    quote_spanned!(span=> __goka)
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
    let private = private();
    quote!(#private::Murmur2)
}
