//! Generates assertions for the rules that need types: code without an effect, which rustc checks.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::graph::or_else;
use super::{of_table, of_topic};
use crate::model::{self, Edge};
use crate::paths;
use crate::syntax::{Form, Target, type_text};

/// The assertions as items, for a processor that is not generic: each has its own error.
pub(super) fn as_items(processor: &model::Processor) -> TokenStream {
    if processor.form.generics().is_some() {
        return TokenStream::new();
    }
    let probes = probes(processor);
    quote!(#(const _: () = #probes;)*)
}

/// The assertions as statements, for a generic processor, whose parameters items could not use.
pub(super) fn as_statements(processor: &model::Processor) -> Option<TokenStream> {
    processor.form.generics()?;
    let probes = probes(processor);
    Some(quote!(#(#probes;)*))
}

fn probes(processor: &model::Processor) -> Vec<TokenStream> {
    let mut probes = Vec::new();
    assert_sync(processor, &mut probes);
    assert_distinct_inputs(processor, &mut probes);
    assert_keys(processor, &mut probes);
    let mut before = Vec::new();
    for edge in &processor.edges {
        match edge {
            Edge::Input(input) => {
                if let Some(topic) = input.target.ty() {
                    assert_like_group(processor, topic, &before, &mut probes);
                    before.push(topic);
                }
            }
            Edge::Join(table) => assert_joined(processor, table, &mut probes),
            _ => {}
        }
    }
    probes
}

/// Asserts that the type of a `#[processor] impl` is `Sync`: its value is shared by the workers' threads.
fn assert_sync(processor: &model::Processor, probes: &mut Vec<TokenStream>) {
    // For a generic type `Service::with` requires it.
    if let (Form::Block(block), None) = (&processor.form, processor.form.generics()) {
        let this = &block.self_ty;
        let span = this.span();
        let private = paths::private_at(span);
        probes.push(quote_spanned!(span=> #private::shared::<#this>()));
    }
}

/// Asserts that no two inputs are one topic, by an alias or by its name. Other edges need no check: two of one topic
/// generate the same impl twice, which rustc refuses.
fn assert_distinct_inputs(processor: &model::Processor, probes: &mut Vec<TokenStream>) {
    let mut before = Vec::<TokenStream>::new();
    for input in processor.inputs() {
        let name = match &input.target {
            Target::Named(name) => quote!(#name),
            Target::Typed(topic) => of_topic(topic, "NAME"),
        };
        let span = input.target.span();
        let private = paths::private_at(span);
        for other in &before {
            probes.push(quote_spanned!(span=> #private::distinct(#other, #name)));
        }
        before.push(name);
    }
}

/// Asserts that a group with a table has keys, and that the topics of one handler all have keys or all have none.
fn assert_keys(processor: &model::Processor, probes: &mut Vec<TokenStream>) {
    let Some(first) = processor.first_typed() else {
        return;
    };
    let spec = |topic| of_topic(topic, "SPEC");
    let span = first.span();
    let private = paths::private_at(span);
    if !processor.may_rekey {
        if processor.persist.is_some() && processor.key.is_none() {
            let first = spec(first);
            probes.push(quote_spanned!(span=> #private::keyed(&[#first])));
        }
        return;
    }
    let named = processor.inputs().any(|input| input.target.ty().is_none());
    if !named && !processor.has_loopback() {
        let inputs = processor.inputs().filter_map(|input| input.target.ty());
        let inputs = inputs.map(spec);
        probes.push(quote_spanned!(span=> #private::keyed(&[#(#inputs),*])));
    }
    for input in processor.inputs() {
        let Some(topic) = input.target.ty() else {
            continue;
        };
        let is_keyless = match &input.handler.keying {
            Some(other) if type_text(other) == type_text(topic) => continue,
            Some(other) => {
                let other = spec(other);
                quote!(#other.is_keyless())
            }
            None => quote!(false),
        };
        let topic_spec = spec(topic);
        let span = topic.span();
        let private = paths::private_at(span);
        probes.push(quote_spanned!(span=> #private::keyed_alike(#is_keyless, #topic_spec)));
    }
}

/// Asserts that an input has the group's key type; in a co-partitioned group also its partitioner, and the partition
/// count of the inputs before it.
fn assert_like_group(
    processor: &model::Processor,
    topic: &Type,
    before: &[&Type],
    probes: &mut Vec<TokenStream>,
) {
    let this = &processor.this;
    let span = topic.span();
    let private = paths::private_at(span);
    let first = processor.first_typed();
    let is_first = first.is_some_and(|first| std::ptr::eq(first, topic));

    // A keyless stream in a group with keys has no key type to check.
    let of = |item: &str| {
        if !processor.may_rekey {
            return of_topic(topic, item);
        }
        let name = Ident::new(item, span);
        let own = quote_spanned!(span=> <#this as #private::Processor>::#name);
        or_else(before.len(), topic, item, Some(own))
    };
    // The group has the first input's, so a check of that one would only repeat its errors.
    if !is_first || processor.key.is_some() {
        let key = of("Key");
        probes.push(quote_spanned! {span=>
            #private::same_key::<#key, <#this as #private::Processor>::Key, #topic, #this>()
        });
    }
    if !processor.is_copartitioned() {
        return;
    }
    if !is_first || processor.partitioner.is_some() {
        let partitioner = of("Partitioner");
        probes.push(quote_spanned! {span=>
            #private::same_partitioner::<
                #partitioner, <#this as #private::Processor>::Partitioner, #topic, #this,
            >()
        });
    }
    // Each with all before it, because any of them may have no declared count.
    let who = match processor.persist {
        Some(_) => "inputs of a group with a table",
        None => "inputs of a group with a join",
    };
    for other in before {
        let (other, this) = (of_topic(other, "SPEC"), of_topic(topic, "SPEC"));
        probes.push(quote_spanned!(span=> #private::copartitioned(#other, #this, #who)));
    }
}

/// Asserts that a joined table has the key type and the partitioner of the group, and the partition count of each input.
fn assert_joined(processor: &model::Processor, table: &Type, probes: &mut Vec<TokenStream>) {
    let this = &processor.this;
    let span = table.span();
    let private = paths::private_at(span);
    let (key, partitioner) = (of_table(table, "Key"), of_table(table, "Partitioner"));
    probes.push(quote_spanned! {span=>
        #private::joined::<#key, #partitioner, #table, #this>()
    });
    for input in processor.inputs().filter_map(|input| input.target.ty()) {
        let (input, table) = (of_topic(input, "SPEC"), of_table(table, "SPEC"));
        let who = "an input and a joined table";
        probes.push(quote_spanned!(span=> #private::copartitioned(#input, #table, #who)));
    }
}
