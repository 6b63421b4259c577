//! Rules that need types: rustc checks them, in generated code that does nothing.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::graph::or_else;
use super::{of_table, of_topic};
use crate::model::{self, Edge};
use crate::paths;
use crate::syntax::{Form, Target};

/// The rules as items, for a processor without parameters: each has its own error.
pub(super) fn statements(processor: &model::Processor) -> TokenStream {
    if processor.form.generics().is_some() {
        return TokenStream::new();
    }
    let probes = probes(processor);
    quote!(#(const _: () = #probes;)*)
}

/// The rules as statements, for a processor with parameters, which items could not use.
pub(super) fn inside(processor: &model::Processor) -> Option<TokenStream> {
    processor.form.generics()?;
    let probes = probes(processor);
    Some(quote!(#(#probes;)*))
}

fn probes(processor: &model::Processor) -> Vec<TokenStream> {
    let mut probes = Vec::new();
    shared(processor, &mut probes);
    distinct(processor, &mut probes);
    keyed(processor, &mut probes);
    let mut before = Vec::new();
    for edge in &processor.edges {
        match edge {
            Edge::Input(input) => {
                if let Some(topic) = input.target.ty() {
                    alike(processor, topic, &before, &mut probes);
                    before.push(topic);
                }
            }
            Edge::Join(table) => joined(processor, table, &mut probes),
            _ => {}
        }
    }
    probes
}

/// The value of an `impl` form is shared by the workers' threads.
fn shared(processor: &model::Processor, probes: &mut Vec<TokenStream>) {
    // With parameters it depends on them; `Service::with` requires it then.
    if let (Form::Block(block), None) = (&processor.form, processor.form.generics()) {
        let this = &block.self_ty;
        let span = this.span();
        let private = paths::private_at(span);
        probes.push(quote_spanned!(span=> #private::shared::<#this>()));
    }
}

/// One topic as two inputs, by an alias or by its name. Another edge that is there twice by an alias is one impl
/// twice, which is an error of rustc.
fn distinct(processor: &model::Processor, probes: &mut Vec<TokenStream>) {
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

/// A group table of streams without keys, and a handler for records with keys and without.
fn keyed(processor: &model::Processor, probes: &mut Vec<TokenStream>) {
    let Some(first) = processor.first_typed() else {
        return;
    };
    let spec = |topic| of_topic(topic, "SPEC");
    let span = first.span();
    let private = paths::private_at(span);
    if !processor.may_rekey() {
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
        let is_keyless = match processor.keying(&input.handler.name) {
            Some(other) if std::ptr::eq(other, topic) => continue,
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

/// Inputs with other key types than the group; in a co-partitioned group also with other partitioners or partition
/// counts.
fn alike(
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
        if !processor.may_rekey() {
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
            #private::same_place::<
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

/// Joined tables with another key type, partitioner or partition count than the group.
fn joined(processor: &model::Processor, table: &Type, probes: &mut Vec<TokenStream>) {
    let this = &processor.this;
    let span = table.span();
    let private = paths::private_at(span);
    let (key, partitioner) = (of_table(table, "Key"), of_table(table, "Partitioner"));
    probes.push(quote_spanned! {span=>
        #private::joined::<#key, #partitioner, #table, #this>()
    });
    // If inputs differ from each other, one error is enough.
    for input in processor.inputs().filter_map(|input| input.target.ty()) {
        let (input, table) = (of_topic(input, "SPEC"), of_table(table, "SPEC"));
        let who = "an input and a joined table";
        probes.push(quote_spanned!(span=> #private::copartitioned(#input, #table, #who)));
    }
}
