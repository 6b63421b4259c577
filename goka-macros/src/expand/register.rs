//! The processor's definition, and its entry in the registry.

use proc_macro2::TokenStream;
use quote::quote;

use super::{graph, location, parameters, probe, ty};
use crate::syntax::{Form, Guarantee};
use crate::{model, paths};

/// The impl of `Processor`, with the graph and the dispatch shims; with mistakes without these.
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
    let (parameters, bounds) = parameters(processor.form.generics());
    if !processor.is_sound {
        return quote! {
            impl #parameters #private::Processor for #this #bounds {
                #key
                #partitioner
                const DEFINITION: &'static #private::Definition = &#private::BROKEN;
            }
        };
    }
    let guarantee = match processor.guarantee {
        Guarantee::AtLeastOnce => None,
        Guarantee::ExactlyOnce => Some(quote!(.exactly_once())),
    };
    let edges = processor.edges.iter();
    let edges = edges.filter_map(graph::edge);
    let edges = edges.chain(graph::table(processor));
    let mut definition = quote! {
        &#private::Definition {
            graph: #private::graph(#name, Self::OWN, Self::EDGES, #location) #guarantee,
            ..#private::TypeProbe::<Self>::MADE
        }
    };
    if let Some(probes) = probe::as_statements(processor) {
        definition = quote!({ #probes #definition });
    }
    let suffix = &processor.suffix;
    quote! {
        impl #parameters #private::Processor for #this #bounds {
            #key
            #partitioner
            const OWN: #private::OwnNames<Self> = #private::own!(#group, #suffix);
            const EDGES: &'static [#private::Edge] = &[#(#edges),*];
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
