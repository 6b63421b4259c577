//! The group graph: the group's key and partitioner, and the edges.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
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
pub(super) fn edge(edge: &Edge) -> TokenStream {
    match edge {
        Edge::Input(input) => self::input(input),
        Edge::Output(topic) => plain("Output", &of_topic(topic, "SPEC"), topic),
        Edge::Join(table) => plain("Join", &of_table(table, "SPEC"), table),
        Edge::Lookup(table) => plain("Lookup", &of_table(table, "SPEC"), table),
        Edge::Loopback(own) => {
            let taker = dispatch::taker(&own.handler, None);
            let call = dispatch::call(&own.handler, &taker);
            let location = location(own.at);
            quote!(#taker.loopback(#call, #location))
        }
        Edge::Visit(own, name) => {
            let taker = dispatch::taker(&own.handler, None);
            let call = dispatch::call(&own.handler, &taker);
            let location = location(own.at);
            quote!(#taker.visit(#call, #name, #location))
        }
    }
}

/// The edge to the group table.
pub(super) fn table(processor: &model::Processor) -> Option<TokenStream> {
    let private = paths::private();
    processor.persist.as_ref()?;
    let location = location(processor.ident.span());
    Some(quote!(#private::table::<Self>(#location)))
}

fn plain(kind: &str, spec: &TokenStream, topic: &Type) -> TokenStream {
    let span = topic.span();
    let private = paths::private_at(span);
    let kind = Ident::new(kind, span);
    let location = location(span);
    // Where it is refused when the topic is the group's own.
    quote_spanned! {span=>
        #private::edge(Self::OWN, #private::EdgeKind::#kind, #spec, #location)
    }
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
    match &input.target {
        Target::Named(name) => quote!(#taker.named(#call, #start, #name, #location)),
        Target::Typed(topic) => {
            let spec = of_topic(topic, "SPEC");
            // Each refusal where its cause is: deletions at the parameter, an own topic at its name.
            let kind = of_topic(topic, "KIND");
            let span = handler.value.span();
            let reading = quote_spanned!(span=> .reading(#kind));
            let span = topic.span();
            let private = paths::private_at(span);
            quote_spanned! {span=>
                #private::Taker::input(#taker #reading, #call, #start, #spec, #location)
            }
        }
    }
}
