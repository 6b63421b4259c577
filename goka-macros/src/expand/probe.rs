//! Rules that need types: checked by rustc, in code that does nothing.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::of_topic;
use crate::model;
use crate::paths;
use crate::syntax::{EdgeSyntax, Target};
use crate::words::EdgeWord;

pub(super) fn probes(processor: &model::Processor) -> TokenStream {
    let distinct = distinct(processor);
    let foreign = processor.edges.iter().map(|edge| foreign(processor, edge));
    let alike = processor.inputs().map(|edge| alike(processor, edge));
    quote!(#distinct #(#foreign)* #(#alike)*)
}

fn name(target: &Target) -> TokenStream {
    match target {
        Target::Named(name) => quote!(#name),
        Target::Typed(topic) => of_topic(topic, "NAME"),
    }
}

/// One topic as two inputs, by an alias or by its name.
fn distinct(processor: &model::Processor) -> TokenStream {
    let inputs: Vec<_> = processor.inputs().collect();
    let mut probes = TokenStream::new();
    for (index, input) in inputs.iter().enumerate() {
        for other in &inputs[..index] {
            let (first, second) = (name(&other.target), name(&input.target));
            let span = input.target.span();
            let private = paths::private_at(span);
            probes.extend(quote_spanned! {span=>
                const _: () = #private::distinct(#first, #second);
            });
        }
    }
    probes
}

/// The group's own table or loop topic, by an alias or by another declaration.
fn foreign(processor: &model::Processor, edge: &EdgeSyntax) -> Option<TokenStream> {
    edge.target.ty()?;
    let name = name(&edge.target);
    let (table, loopback) = (processor.table_name(), processor.loop_name());
    let span = edge.target.span();
    let private = paths::private_at(span);
    Some(quote_spanned! {span=>
        const _: () = #private::foreign(#name, #table, #loopback);
    })
}

/// Inputs with other keys than the group; with a table also other places or partition counts.
fn alike(processor: &model::Processor, edge: &EdgeSyntax) -> Option<TokenStream> {
    debug_assert!(edge.word == EdgeWord::Input);
    let ident = &processor.ident;
    let topic = edge.target.ty()?;
    let span = edge.target.span();
    let private = paths::private_at(span);
    let is_first = processor
        .first_typed()
        .is_some_and(|first| std::ptr::eq(first, topic));

    // What was taken from the first input is the same as there, and would only repeat its errors.
    let key = (!is_first || processor.key.is_some()).then(|| {
        let key = of_topic(topic, "Key");
        quote_spanned! {span=>
            const _: () = #private::same_key::<
                #key, <#ident as #private::Processor>::Key, #topic, #ident,
            >();
        }
    });
    let has_table = processor.persist.is_some();
    let place = (has_table && (!is_first || processor.partitioner.is_some())).then(|| {
        let partitioner = of_topic(topic, "Partitioner");
        quote_spanned! {span=>
            const _: () = #private::same_place::<
                #partitioner, <#ident as #private::Processor>::Partitioner, #topic, #ident,
            >();
        }
    });
    // With each one before, because any of them may have no declared count.
    let before = processor.inputs().filter_map(|edge| edge.target.ty());
    let before = before.take_while(|other| has_table && !std::ptr::eq(*other, topic));
    let counts = before.map(|other| {
        let (other, this) = (of_topic(other, "SPEC"), of_topic(topic, "SPEC"));
        quote_spanned! {span=>
            const _: () = #private::copartitioned(#other, #this);
        }
    });
    Some(quote!(#key #place #(#counts)*))
}
