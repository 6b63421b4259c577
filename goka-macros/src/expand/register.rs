//! The processor's definition, and its entry in the registry.

use proc_macro2::TokenStream;
use quote::quote;

use super::{graph, location, parameters, probe, ty};
use crate::syntax::{Form, Guarantee};
use crate::{model, paths};

/// The impl of `Processor`, with the graph and the dispatch shims.
pub(super) fn implementation(processor: &model::Processor) -> TokenStream {
    let private = paths::private();
    let this = &processor.this;
    let name = processor.ident.to_string();
    let group = &processor.group;
    let location = location(match &processor.form {
        Form::Function(function) => function.sig.ident.span(),
        Form::Block(_) => processor.ident.span(),
    });
    let key = ty("Key", &graph::key(processor));
    let partitioner = ty("Partitioner", &graph::partitioner(processor));
    let guarantee = match processor.guarantee {
        Guarantee::AtLeastOnce => quote!(AtLeastOnce),
        Guarantee::ExactlyOnce => quote!(ExactlyOnce),
    };
    let edges = processor.edges.iter();
    let edges = edges.map(graph::edge);
    let edges = edges.chain(graph::table(processor));
    let mut definition = quote! {
        &#private::Definition {
            graph: #private::GroupGraph {
                name: #name,
                group: #group,
                location: #location,
                guarantee: #private::Guarantee::#guarantee,
                edges: &[#(#edges),*],
            },
            ..#private::TypeProbe::<Self>::MADE
        }
    };
    if let Some(probes) = probe::inside(processor) {
        definition = quote!({ #probes #definition });
    }
    let suffix = &processor.suffix;
    let (parameters, bounds) = parameters(processor.form.generics());
    quote! {
        #[allow(unused_imports)]
        use #private::ProbeFallback as _;
        impl #parameters #private::Processor for #this #bounds {
            #key
            #partitioner
            const OWN: [&'static str; 3] = #private::own!(#group, #suffix);
            const DEFINITION: &'static #private::Definition = #definition;
        }
    }
}

/// Its entry, unless it has parameters: then the user registers it for each set of parameters.
pub(super) fn submit(processor: &model::Processor) -> Option<TokenStream> {
    if processor.form.generics().is_some() {
        return None;
    }
    let private = paths::private();
    let this = &processor.this;
    Some(quote! {
        #private::inventory::submit! {
            #private::Entry(<#this as #private::Processor>::DEFINITION)
        }
    })
}
