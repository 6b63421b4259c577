//! Generates the processor's definition and its entry in the registry: the group's key type and partitioner, and a
//! value for each edge of the group graph.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::{
    dispatch, is_keyless, location, of_table, of_topic, parameters, partitioner, probe, ty,
};
use crate::model::{self, Edge, Input};
use crate::paths;
use crate::syntax::{Form, Guarantee, HandlerSyntax, Start, Target};

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
    let key = ty("Key", &key(processor));
    let partitioner = ty("Partitioner", &partitioner(processor));
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
    let edges = edges.filter_map(edge);
    let edges = edges.chain(table(processor));
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
/// inputs may be keyless, of the first that has keys. Whether a topic has, only rustc knows, so this generates a type
/// that chooses: `KeyOf<.., A, KeyOf<.., B>>`.
fn of_first(processor: &model::Processor, item: &str) -> Option<TokenStream> {
    let topics = processor.topics();
    if !processor.may_rekey {
        return topics.first().map(|topic| of_topic(topic, item));
    }
    let topics = topics.into_iter().enumerate();
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
fn edge(edge: &Edge) -> Option<TokenStream> {
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
fn table(processor: &model::Processor) -> Option<TokenStream> {
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
    quote_spanned!(span=> #private::#word(Self::OWN, #spec, #location))
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
