//! The processor's definition, and its entry in the registry.

use proc_macro2::TokenStream;
use quote::quote;

use super::location;
use crate::{model, paths};

pub(super) fn definition(processor: &model::Processor) -> TokenStream {
    let private = paths::private();
    let ident = &processor.ident;
    let name = ident.to_string();
    let group = &processor.group;
    let location = location(processor.function.sig.ident.span());
    quote! {
        #private::Definition {
            graph: #private::GroupGraph {
                name: #name,
                group: #group,
                location: #location,
                edges: __GOKA_EDGES,
            },
            make: ::core::option::Option::Some(#private::make::<#ident>),
            type_id: #private::type_id::<#ident>,
        }
    }
}

pub(super) fn submit(processor: &model::Processor) -> TokenStream {
    let private = paths::private();
    let ident = &processor.ident;
    quote! {
        #private::inventory::submit! {
            #private::Entry(<#ident as #private::Processor>::DEFINITION)
        }
    }
}
