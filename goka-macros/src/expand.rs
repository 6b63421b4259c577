//! Model to tokens: first the user's item, then one `const` with all generated code. Reports no errors.

mod dispatch;
mod graph;
pub(crate) mod partitioner;
mod probe;
mod register;
mod topic;

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Generics, Ident, Type, Visibility};

use crate::model::{self, Value};
use crate::paths;
use crate::syntax::{Form, bare, type_text};

pub(crate) use dispatch::named;
pub(crate) use graph::first_keyed;

pub(crate) use topic::{Implementation, topic};

/// Expands `#[processor(..)]`.
pub(crate) fn processor(processor: &model::Processor) -> TokenStream {
    let cfgs: Vec<_> = processor.attributes("cfg").collect();
    let item = match &processor.form {
        Form::Function(function) => {
            let docs = docs(processor);
            let unit = unit(&docs, &cfgs, &function.vis, &processor.ident);
            quote!(#function #unit)
        }
        Form::Block(block) => quote!(#block),
    };
    let wrapper = partitioner::item(processor.partitioner.as_ref());
    let definition = register::implementation(processor);
    let table = topic::group_table(processor);
    let edges = processor.edges.iter();
    let declared = edges.map(|edge| declared(processor, edge));
    let probes = probe::as_items(processor);
    let submit = register::submit(processor);
    let keyings = processor
        .may_rekey()
        .then(|| keyings(&processor.this, &processor.topics(), &processor.keyings));

    let items = quote!(#wrapper #definition #table #(#declared)* #keyings #probes #submit);
    let block = paths::block(processor.root.as_ref(), &items);
    quote!(#item #(#cfgs)* #block)
}

/// The impl by which handlers may use an edge.
fn declared(processor: &model::Processor, edge: &model::Edge) -> Option<TokenStream> {
    let (word, topic) = match edge {
        model::Edge::Input(_) | model::Edge::Visit(..) => return None,
        model::Edge::Output(topic) => ("Emits", topic),
        model::Edge::Join(topic) => ("Joins", topic),
        model::Edge::Lookup(topic) => ("LooksUp", topic),
        model::Edge::Loopback(own) => {
            let codec = dispatch::named(&own.handler.value);
            let name = processor.loop_name();
            return Some(loops(
                &processor.this,
                processor.form.generics(),
                &codec,
                &name,
            ));
        }
    };
    let span = at(topic.span());
    let private = paths::private_at(span);
    let word = Ident::new(word, span);
    let this = &processor.this;
    let (parameters, bounds) = parameters(processor.form.generics());
    Some(quote_spanned!(span=> impl #parameters #private::#word<#topic> for #this #bounds {}))
}

/// Constants that say whether each of the `topics` of a processor's inputs is keyless, and the impls that say it for
/// the handlers: `handlers` are the topics that decide it for one.
pub(crate) fn keyings(this: &Type, topics: &[&Type], handlers: &[Type]) -> TokenStream {
    let consts = topics.iter().enumerate().map(|(at, topic)| {
        let (name, span) = (is_keyless(at), topic.span());
        let private = paths::private_at(span);
        quote_spanned!(span=> const #name: bool = #private::TypeProbe::<#topic>::IS_KEYLESS;)
    });
    let private = paths::private();
    let impls = handlers.iter().enumerate().map(|(at, topic)| {
        let text = type_text(topic);
        let input = topics.iter().position(|topic| type_text(topic) == text);
        // It may be missing if there are mistakes.
        let keying = match input.map(is_keyless) {
            Some(is_keyless) => quote!(KeyingOf<#is_keyless>),
            None => quote!(WithKey),
        };
        let at = Literal::usize_unsuffixed(at);
        quote!(impl #private::Handler<#at> for #this { type Keying = #private::#keying; })
    });
    consts.chain(impls).collect()
}

/// The constant that says whether the topic of an input is keyless, by its index.
fn is_keyless(at: usize) -> Ident {
    Ident::new(&format!("__IS_KEYLESS_{at}"), Span::call_site())
}

pub(crate) fn loops(
    this: &Type,
    generics: Option<&Generics>,
    codec: &Type,
    name: &str,
) -> TokenStream {
    let private = paths::private();
    let (parameters, bounds) = parameters(generics);
    let value = bare(codec);
    let codec = codec_of(codec);
    quote! {
        impl #parameters #private::Loops<#value> for #this #bounds {
            const LOOP: &'static str = #name;
            const CODEC: #private::CodecOf<#value> = #codec;
        }
    }
}

/// The parameters of an `impl`, and its bounds.
pub(crate) fn parameters(generics: Option<&Generics>) -> (TokenStream, TokenStream) {
    let Some(generics) = generics else {
        return Default::default();
    };
    let (parameters, _, bounds) = generics.split_for_impl();
    (quote!(#parameters), quote!(#bounds))
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

/// The documentation of the function, and a sentence about the type.
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

/// A span at a place in the user's source, with the name resolution of the macro call: errors are shown at that
/// place, and lints do not take the code for the user's.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// `Location { .. }` of a place in the user's source.
fn location(span: Span) -> TokenStream {
    let private = paths::private_at(span);
    // `line!()` in the generated code, since `Span::line()` ignores a macro that the code is in; and without a span
    // from `at`, which would give the place of the attribute.
    quote_spanned!(span=> #private::here!())
}

/// `<T as Topic>::ITEM`, with its errors at `T`.
fn of_topic(topic: &Type, item: &str) -> TokenStream {
    projection(topic, "Topic", item)
}

/// `<T as ReadTable>::ITEM`: the same for a topic that has to be a table.
fn of_table(table: &Type, item: &str) -> TokenStream {
    projection(table, "ReadTable", item)
}

fn projection(topic: &Type, of: &str, item: &str) -> TokenStream {
    let span = topic.span();
    let private = paths::private_at(span);
    let (of, item) = (Ident::new(of, span), Ident::new(item, span));
    quote_spanned!(span=> <#topic as #private::#of>::#item)
}

/// A type in an `impl`, with the span of another one, so that the errors of rustc about both are one error.
fn ty(name: &str, is: &TokenStream) -> TokenStream {
    let span = is.span();
    let name = Ident::new(name, span);
    quote_spanned!(span=> type #name = #is;)
}

/// The codec of a topic's values, with their shape.
fn codec_with(value: &Value) -> TokenStream {
    codec_asked(value.codec.as_ref(), &value.given)
}

/// The codec of a type, its own or a given one, with the shape of its values: the only code that requires it.
pub(crate) fn codec_asked(given: Option<&Type>, value: &Type) -> TokenStream {
    let span = given.unwrap_or(value).span();
    let private = paths::private_at(span);
    match given {
        Some(codec) => quote_spanned!(span=> #private::codec!(given #codec, #value)),
        None => quote_spanned!(span=> #private::codec!(of #value)),
    }
}

/// `codec_of::<C, _>()`: the only code that requires a codec.
fn codec_of(codec: &Type) -> TokenStream {
    let span = codec.span();
    let private = paths::private_at(span);
    quote_spanned!(span=> #private::codec_of::<#codec, _>())
}
