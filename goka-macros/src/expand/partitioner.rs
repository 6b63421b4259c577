//! Partitioners: a type is used as it is; for a function a type that calls it is generated.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::paths;

/// The partitioner's type.
pub(super) fn ty(given: &Type) -> TokenStream {
    match function(given) {
        Some(_) => wrapper().into_token_stream(),
        None => quote!(#given),
    }
}

/// The type that calls a function, if one is given. Its name is that of the function without the path, so that a
/// function that is moved is the same partitioner.
pub(super) fn item(given: Option<&Type>) -> Option<TokenStream> {
    let given = given?;
    let name = format!("{}()", function(given)?.unraw());
    let private = paths::private();
    let wrapper = wrapper();
    let span = given.span();
    // Outside of the function below, since the user's function may have the name of a parameter.
    let function = quote_spanned! {span=>
        const PLACE: fn(&[u8], i32) -> i32 = #given;
    };
    Some(quote! {
        #function
        #[doc(hidden)]
        #[allow(unreachable_pub)]
        #[derive(Debug)]
        pub struct #wrapper;
        impl #private::Partitioner for #wrapper {
            const NAME: &'static str = #name;
            fn partition(key: &[u8], count: i32) -> i32 {
                #private::placed(PLACE(key, count), count, Self::NAME)
            }
        }
    })
}

fn wrapper() -> Ident {
    format_ident!("__GokaPartitioner", span = Span::call_site())
}

/// The name of the function, if the path is that of a function: its last segment begins with a small letter.
fn function(given: &Type) -> Option<&Ident> {
    let Type::Path(path) = given else {
        return None;
    };
    let last = path.path.segments.last()?;
    let name = last.ident.unraw().to_string();
    let is_function = name.trim_start_matches('_').starts_with(char::is_lowercase);
    (is_function && last.arguments.is_none()).then_some(&last.ident)
}
