//! Rules that need types: checked by rustc, in code that does nothing.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

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

/// The rules as statements, for a processor with parameters: items would not know these.
pub(super) fn inside(processor: &model::Processor) -> Option<TokenStream> {
    processor.form.generics()?;
    let probes = probes(processor);
    Some(quote!(#(#probes;)*))
}

fn probes(processor: &model::Processor) -> Vec<TokenStream> {
    let mut probes = Vec::new();
    shared(processor, &mut probes);
    distinct(processor, &mut probes);
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
    // Of one with parameters it depends on these; who gives a value is asked for it then.
    if let (Form::Block(block), None) = (&processor.form, processor.form.generics()) {
        let this = &block.self_ty;
        let span = this.span();
        let private = paths::private_at(span);
        probes.push(quote_spanned!(span=> #private::shared::<#this>()));
    }
}

/// One topic as two inputs, by an alias or by its name. Twice another edge by an alias is an impl
/// twice, and rustc's own error.
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

/// Inputs with other keys than the group; where keys have to lie together also other places or
/// partition counts.
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

    // What was taken from the first input is the same as there, and would only repeat its errors.
    if !is_first || processor.key.is_some() {
        let key = of_topic(topic, "Key");
        probes.push(quote_spanned! {span=>
            #private::same_key::<#key, <#this as #private::Processor>::Key, #topic, #this>()
        });
    }
    if is_first && processor.key.is_none() && processor.persist.is_some() {
        let spec = of_topic(topic, "SPEC");
        probes.push(quote_spanned!(span=> #private::keyed(#spec)));
    }
    if !processor.is_copartitioned() {
        return;
    }
    if !is_first || processor.partitioner.is_some() {
        let partitioner = of_topic(topic, "Partitioner");
        probes.push(quote_spanned! {span=>
            #private::same_place::<
                #partitioner, <#this as #private::Processor>::Partitioner, #topic, #this,
            >()
        });
    }
    // With each one before, because any of them may have no declared count.
    let who = match processor.persist {
        Some(_) => "inputs of a group with a table",
        None => "inputs of a group with a join",
    };
    for other in before {
        let (other, this) = (of_topic(other, "SPEC"), of_topic(topic, "SPEC"));
        probes.push(quote_spanned!(span=> #private::copartitioned(#other, #this, #who)));
    }
}

/// Joined tables with other keys than the group, other places or partition counts.
fn joined(processor: &model::Processor, table: &Type, probes: &mut Vec<TokenStream>) {
    let this = &processor.this;
    let span = table.span();
    let private = paths::private_at(span);
    let (key, partitioner) = (of_table(table, "Key"), of_table(table, "Partitioner"));
    probes.push(quote_spanned! {span=>
        #private::joined::<#key, #partitioner, #table, #this>()
    });
    // Of inputs that differ from each other, one is enough to say so.
    for input in processor.inputs().filter_map(|input| input.target.ty()) {
        let (input, table) = (of_topic(input, "SPEC"), of_table(table, "SPEC"));
        let who = "an input and a joined table";
        probes.push(quote_spanned!(span=> #private::copartitioned(#input, #table, #who)));
    }
}
