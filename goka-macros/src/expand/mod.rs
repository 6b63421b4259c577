//! Model to tokens: the user's item untouched and first, then one `const` with all the rest.
//! Reports nothing.

mod dispatch;
mod graph;
pub(crate) mod place;
mod probe;
mod register;
mod topic;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Ident, Type, Visibility};

use crate::model::{self, Value};
use crate::paths;
use crate::syntax::bare;

pub(crate) use topic::{Implementation, topic};

/// Expands `#[processor(..)]`.
pub(crate) fn processor(processor: &model::Processor) -> TokenStream {
    let function = &processor.function;
    let ident = &processor.ident;
    let docs = docs(processor);
    let cfgs: Vec<_> = processor.attributes("cfg").collect();
    let unit = unit(&docs, &cfgs, processor.visibility(), ident);

    let private = paths::private();
    let key = graph::key(processor);
    let partitioner = graph::partitioner(processor);
    let place = place::item(processor.partitioner.as_ref());
    let shims = dispatch::shims(processor);
    let table = topic::group_table(processor);
    let outputs = processor.outputs().map(|output| {
        let span = at(output.span());
        let private = paths::private_at(span);
        quote_spanned!(span=> impl #private::Emits<#output> for #ident {})
    });
    let probes = probe::probes(processor);
    let edges = graph::edges(processor);
    let definition = register::definition(processor);
    let submit = register::submit(processor);

    quote! {
        #function
        #unit
        #(#cfgs)*
        // A handler may be marked deprecated, or use what is.
        #[allow(deprecated)]
        const _: () = {
            #shims
            #place
            impl #private::Processor for #ident {
                type Key = #key;
                type Partitioner = #partitioner;
                const DEFINITION: &'static #private::Definition = &#definition;
            }
            #table
            #(#outputs)*
            #edges
            #probes
            #submit
        };
    }
}

/// The processor's type.
pub(crate) fn unit(
    docs: &TokenStream,
    cfgs: &[&Attribute],
    visibility: &Visibility,
    ident: &Ident,
) -> TokenStream {
    quote! {
        #docs
        #(#cfgs)*
        #[derive(Debug, Clone, Copy, Default)]
        #visibility struct #ident;
    }
}

/// The function's documentation, and what the type is.
fn docs(processor: &model::Processor) -> TokenStream {
    let written: Vec<_> = processor.attributes("doc").collect();
    let group = processor.group.value();
    let what = match processor.persist {
        Some(_) => format!(" The processor of group `{group}`, and the handle of its table."),
        None => format!(" The processor of group `{group}`."),
    };
    if written.is_empty() {
        quote!(#[doc = #what])
    } else {
        quote!(#(#written)* #[doc = ""] #[doc = #what])
    }
}

/// A place in the user's source, with the names of the place where the macro is called: what is
/// spanned so has its errors where the user looks, and does not pass for the user's own code.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// `Location { .. }` of a place in the user's source.
fn location(span: Span) -> TokenStream {
    let private = paths::private_at(span);
    // `line!()` and not `Span::line()`, which knows nothing of the code that called a macro; and
    // not at the place where our macro is called, as it would be with a span from `at`.
    quote_spanned! {span=>
        #private::Location {
            file: ::core::file!(),
            line: ::core::line!(),
            column: ::core::column!(),
        }
    }
}

/// `<T as Topic>::ITEM`, with its errors at `T`.
fn of_topic(topic: &Type, item: &str) -> TokenStream {
    let span = topic.span();
    let private = paths::private_at(span);
    let item = Ident::new(item, span);
    quote_spanned!(span=> <#topic as #private::Topic>::#item)
}

/// The codec of a topic's values, with their shape.
fn codec_with(value: &Value) -> TokenStream {
    let (codec, ask) = match &value.codec {
        Some(codec) => (codec, "codec_given"),
        None => (&value.given, "codec_with"),
    };
    let span = codec.span();
    let private = paths::private_at(span);
    let ask = Ident::new(ask, span);
    let value = value.bare();
    quote_spanned!(span=> #private::#ask::<#codec, #value>(#private::schema!(#codec)))
}

/// `codec_of::<C, V>()`: the only place where a codec is asked for.
fn codec_of(codec: &Type) -> TokenStream {
    let span = codec.span();
    let private = paths::private_at(span);
    let value = bare(codec);
    quote_spanned!(span=> #private::codec_of::<#codec, #value>())
}
