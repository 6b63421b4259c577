//! Generates what `register` puts into a processor's definition: the group's key type and partitioner, and a value
//! for each edge of the group graph.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::{dispatch, is_keyless, location, of_table, of_topic, partitioner};
use crate::model::{self, Edge, Input};
use crate::paths;
use crate::syntax::{HandlerSyntax, Start, Target};

/// The group's key type: given as an option, or that of its inputs, or `String`.
pub(super) fn key(processor: &model::Processor) -> TokenStream {
    match &processor.key {
        Some(key) => quote!(#key),
        None => of_first(processor, "Key").unwrap_or_else(paths::string),
    }
}

/// The group's partitioner: given as an option, or that of its inputs, or `Murmur2`.
pub(super) fn partitioner(processor: &model::Processor) -> TokenStream {
    match &processor.partitioner {
        Some(partitioner) => partitioner::ty(partitioner),
        None => of_first(processor, "Partitioner").unwrap_or_else(paths::murmur2),
    }
}

/// The key type or the partitioner (`item` is `Key` or `Partitioner`, of `Topic`) of the first input that is a type; if
/// inputs may be keyless, of the first that has keys.
fn of_first(processor: &model::Processor, item: &str) -> Option<TokenStream> {
    let topics = processor.topics();
    if processor.may_rekey() {
        return first_keyed(&topics, item);
    }
    topics.first().map(|topic| of_topic(topic, item))
}

/// The key type or the partitioner of the first of some topics that has keys. Whether a topic has, only rustc knows, so
/// this generates a type that chooses: `KeyOf<.., A, KeyOf<.., B>>`.
fn first_keyed(topics: &[&Type], item: &str) -> Option<TokenStream> {
    let topics = topics.iter().enumerate();
    topics.rfold(None, |other, (at, topic)| {
        Some(or_else(at, topic, item, other))
    })
}

/// The key type or the partitioner of the topic at an index; for a keyless stream `other`, or the default of
/// `KeyOf` or `PartitionerOf`.
pub(super) fn or_else(
    at: usize,
    topic: &Type,
    item: &str,
    other: Option<TokenStream>,
) -> TokenStream {
    let span = topic.span();
    let private = paths::private_at(span);
    let of = match item {
        "Key" => "KeyOf",
        _ => "PartitionerOf",
    };
    let of = Ident::new(of, span);
    let (is_keyless, other) = (is_keyless(at), other.iter());
    quote_spanned!(span=> #private::#of<#is_keyless, #topic #(, #other)*>)
}

/// An edge as a value.
pub(super) fn edge(edge: &Edge) -> Option<TokenStream> {
    Some(match edge {
        Edge::UnhandledInput(_) | Edge::UnhandledLoopback => return None,
        Edge::Input(input) => self::input(input),
        Edge::Output(topic) => plain("output", &of_topic(topic, "SPEC"), topic),
        Edge::Join(table) => plain("join", &of_table(table, "SPEC"), table),
        Edge::Lookup(table) => plain("lookup", &of_table(table, "SPEC"), table),
        Edge::Loopback(own) => {
            let (parameter, call) = handled(&own.handler, None);
            let (private, location) = (paths::private(), location(own.at));
            quote!(#private::loopback(Self::OWN, #parameter, #call, #location))
        }
        Edge::Visit(own, name) => {
            let (parameter, call) = handled(&own.handler, None);
            let (private, location) = (paths::private(), location(own.at));
            quote!(#private::visit(Self::OWN, #name, #parameter, #call, #location))
        }
    })
}

/// What an edge needs of its handler: the type of its parameter, and its shim.
fn handled(handler: &HandlerSyntax, topic: Option<&Type>) -> (TokenStream, TokenStream) {
    let parameter = dispatch::parameter(handler, topic);
    (parameter, dispatch::call(handler, topic))
}

/// The edge to the group table.
pub(super) fn table(processor: &model::Processor) -> Option<TokenStream> {
    let private = paths::private();
    processor.persist.as_ref()?;
    let location = location(processor.ident.span());
    Some(quote!(#private::table::<Self>(#location)))
}

/// An edge without a handler; `word` is the function that makes it.
fn plain(word: &str, spec: &TokenStream, topic: &Type) -> TokenStream {
    let span = topic.span();
    let private = paths::private_at(span);
    let word = Ident::new(word, span);
    let location = location(span);
    // With the topic's span, so that the error of `check_not_own` is shown there.
    quote_spanned! {span=>
        #private::#word(Self::OWN, #spec, #location)
    }
}

fn input(input: &Input) -> TokenStream {
    let (parameter, call) = handled(&input.handler, input.target.ty());
    let span = input.target.span();
    let (private, location) = (paths::private(), location(span));
    let edge = match &input.target {
        Target::Named(name) => {
            quote!(#private::named_input(Self::OWN, #name, #parameter, #call, #location))
        }
        Target::Typed(topic) => {
            let spec = of_topic(topic, "SPEC");
            let private = paths::private_at(span);
            // With the topic's span, so that the error of `check_not_own` is shown there. The specification stands
            // before the parameter: for a type that is not a topic rustc then reports the same error here as for the
            // group's key type, and shows it once.
            quote_spanned!(span=> #private::input(Self::OWN, #spec, #parameter, #call, #location))
        }
    };
    match input.start {
        Start::Earliest => edge,
        Start::Latest => quote!(#private::latest(#edge)),
    }
}
