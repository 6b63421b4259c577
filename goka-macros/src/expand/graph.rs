//! The group graph: the group's key and partitioner, and the edges.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned;

use super::{dispatch, location, of_table, of_topic, place};
use crate::model::{self, Edge, Input};
use crate::paths;
use crate::syntax::{Start, Target};

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

/// An edge as a value.
pub(super) fn edge(processor: &model::Processor, edge: &Edge) -> TokenStream {
    match edge {
        Edge::Input(input) => self::input(input),
        Edge::Output(topic) => plain("Output", &of_topic(topic, "SPEC"), topic.span()),
        Edge::Join(table) => plain("Join", &of_table(table, "SPEC"), table.span()),
        Edge::Lookup(table) => plain("Lookup", &of_table(table, "SPEC"), table.span()),
        Edge::Loopback(own) => {
            let taker = dispatch::taker(&own.handler, None);
            let call = dispatch::call(&own.handler, &taker);
            let (name, location) = (processor.loop_name(), location(own.at));
            quote!(#taker.loopback::<Self>(#call, #name, #location))
        }
        Edge::Visit(own, name) => {
            let taker = dispatch::taker(&own.handler, None);
            let call = dispatch::call(&own.handler, &taker);
            let (topic, location) = (processor.visit_name(), location(own.at));
            quote!(#taker.visit::<Self>(#call, #topic, #name, #location))
        }
    }
}

/// The edge to the group table.
pub(super) fn table(processor: &model::Processor) -> Option<TokenStream> {
    let private = paths::private();
    processor.persist.as_ref()?;
    let topic = quote!(<Self as #private::Topic>::SPEC);
    Some(plain("Table", &topic, processor.ident.span()))
}

fn plain(kind: &str, topic: &TokenStream, span: Span) -> TokenStream {
    let private = paths::private();
    let kind = Ident::new(kind, Span::call_site());
    let location = location(span);
    quote!(#private::edge(#private::EdgeKind::#kind, #topic, #location))
}

fn input(input: &Input) -> TokenStream {
    let private = paths::private();
    let handler = &input.handler;
    let taker = dispatch::taker(handler, input.target.ty());
    let call = dispatch::call(handler, &taker);
    let start = match input.start {
        Start::Earliest => quote!(#private::Start::Earliest),
        Start::Latest => quote!(#private::Start::Latest),
    };
    let location = location(input.target.span());
    let method = match &input.target {
        Target::Named(name) => {
            return quote!(#taker.named::<Self>(#call, #start, #name, #location));
        }
        // Where its refusal of a table's values shows.
        Target::Typed(_) => Ident::new("input", handler.value.span()),
    };
    let topic = input.target.ty();
    let spec = topic.map(|topic| of_topic(topic, "SPEC"));
    quote!(#taker.#method(#call, #start, #spec, #private::Probe::<#topic>::IS_TABLE, #location))
}
