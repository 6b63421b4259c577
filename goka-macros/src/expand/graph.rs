//! The group graph: the group's key and partitioner, and the edges.

use proc_macro2::TokenStream;
use quote::quote;

use super::{dispatch, location, of_topic, place};
use crate::model;
use crate::paths;
use crate::syntax::{EdgeSyntax, Target};
use crate::words::EdgeWord;

/// The group's key type.
pub(super) fn key(processor: &model::Processor) -> TokenStream {
    match (&processor.key, processor.first_typed()) {
        (Some(key), _) => quote!(#key),
        (None, Some(input)) => of_topic(input, "Key"),
        (None, None) => paths::string(),
    }
}

/// The group's partitioner.
pub(super) fn partitioner(processor: &model::Processor) -> TokenStream {
    match (&processor.partitioner, processor.first_typed()) {
        (Some(partitioner), _) => place::ty(partitioner),
        (None, Some(input)) => of_topic(input, "Partitioner"),
        (None, None) => paths::murmur2(),
    }
}

/// `__GOKA_EDGES`: the edges in the order of their declaration, then the table.
pub(super) fn edges(processor: &model::Processor) -> TokenStream {
    let private = paths::private();
    let mut inputs = 0;
    let edges = processor.edges.iter().map(|edge| match edge.word {
        EdgeWord::Input => {
            inputs += 1;
            input(processor, edge, inputs - 1)
        }
        EdgeWord::Output => output(edge),
    });
    let table = processor.persist.as_ref().map(|_| {
        let ident = &processor.ident;
        let location = location(ident.span());
        quote! {
            #private::Edge {
                kind: #private::EdgeKind::Table,
                topic: <#ident as #private::Topic>::SPEC,
                location: #location,
            },
        }
    });
    quote! {
        const __GOKA_EDGES: &[#private::Edge] = &[#(#edges)* #table];
    }
}

fn input(processor: &model::Processor, edge: &EdgeSyntax, index: usize) -> TokenStream {
    let private = paths::private();
    let ident = &processor.ident;
    let shim = dispatch::shim_name(index);
    let taker = dispatch::taker(processor, edge);
    let location = location(edge.target.span());
    let topic = match &edge.target {
        Target::Named(name) => quote!(#private::spec_named::<#ident>(#name, taker.format)),
        Target::Typed(topic) => of_topic(topic, "SPEC"),
    };
    quote! {
        {
            let taker = #taker;
            #private::Edge {
                kind: #private::EdgeKind::Input {
                    call: #private::Call::Sync(#shim),
                    tombstones: taker.tombstones,
                    start: #private::Start::Earliest,
                },
                topic: #topic,
                location: #location,
            }
        },
    }
}

fn output(edge: &EdgeSyntax) -> TokenStream {
    let private = paths::private();
    let topic = edge.target.ty().map(|topic| of_topic(topic, "SPEC"));
    let location = location(edge.target.span());
    quote! {
        #private::Edge {
            kind: #private::EdgeKind::Output,
            topic: #topic,
            location: #location,
        },
    }
}
