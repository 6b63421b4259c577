//! Model to tokens: first the user's item, then one `const` with all generated code. Reports no errors.

mod dispatch;
mod graph;
mod partitioner;
mod probe;
mod topic;

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Generics, Ident, Type, Visibility, parse_quote};

use crate::model::{self, Value};
use crate::paths;
use crate::syntax::{Form, bare, type_text};

pub(crate) use topic::topic;

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
    let mut lifetimes = processor
        .form
        .generics()
        .into_iter()
        .flat_map(Generics::lifetimes);
    // A mistake: no fitting impl can be generated.
    if lifetimes.next().is_some() {
        return item;
    }
    let wrapper = partitioner::item(processor.partitioner.as_ref());
    let definition = graph::implementation(processor);
    let table = topic::group_table(processor);
    let edges = processor.edges.iter();
    let declared = edges.map(|edge| declared(processor, edge));
    let keyings = processor.may_rekey.then(|| keyings(processor));
    let registered = processor.is_sound.then(|| {
        let (probes, submit) = (probe::as_items(processor), graph::submit(processor));
        quote!(#probes #submit)
    });
    let items = quote!(#wrapper #definition #table #(#declared)* #keyings #registered);
    let block = paths::block(processor.root.as_ref(), &items);
    quote!(#item #(#cfgs)* #block)
}

/// The impl by which handlers may use an edge.
fn declared(processor: &model::Processor, edge: &model::Edge) -> Option<TokenStream> {
    use model::Edge;

    let (word, topic) = match edge {
        Edge::Input(_) | Edge::UnhandledInput(_) | Edge::Visit(..) => return None,
        Edge::Output(topic) => ("Emits", topic),
        Edge::Join(topic) => ("Joins", topic),
        Edge::Lookup(topic) => ("LooksUp", topic),
        Edge::Loopback(own) => return Some(loops(processor, &own.handler.value)),
        Edge::UnhandledLoopback => return Some(loops_of_any(processor)),
    };
    let span = at(topic.span());
    let private = paths::private_at(span);
    let word = Ident::new(word, span);
    let this = &processor.this;
    let (parameters, bounds) = parameters(processor.form.generics());
    Some(quote_spanned!(span=> impl #parameters #private::#word<#topic> for #this #bounds {}))
}

/// Constants that say whether the topic of each input is keyless, and the impls that say it for the handlers.
fn keyings(processor: &model::Processor) -> TokenStream {
    let (this, topics) = (&processor.this, processor.topics());
    let consts = topics.iter().enumerate().map(|(at, topic)| {
        let (name, span) = (is_keyless(at), topic.span());
        let private = paths::private_at(span);
        quote_spanned!(span=> const #name: bool = #private::TypeProbe::<#topic>::IS_KEYLESS;)
    });
    let private = paths::private();
    let impls = processor.keyings.iter().enumerate().map(|(at, topic)| {
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

/// The impl for a loopback whose handler has a parameter of this type.
fn loops(processor: &model::Processor, parameter: &Type) -> TokenStream {
    let private = paths::private();
    let (this, name) = (&processor.this, processor.loop_name());
    let (parameters, bounds) = parameters(processor.form.generics());
    let codec = dispatch::named(parameter);
    let (value, codec) = (bare(&codec), codec_of(&codec));
    quote! {
        impl #parameters #private::Loops<#value> for #this #bounds {
            const LOOP: &'static str = #name;
            const CODEC: #private::CodecOf<#value> = #codec;
        }
    }
}

/// The impl for a loopback of which it is not known what travels: anything may.
fn loops_of_any(processor: &model::Processor) -> TokenStream {
    let private = paths::private();
    let this = &processor.this;
    let mut generics = processor.form.generics().cloned().unwrap_or_default();
    generics.params.push(parse_quote!(__GokaValue));
    let (parameters, bounds) = parameters(Some(&generics));
    quote! {
        impl #parameters #private::Loops<__GokaValue> for #this #bounds {
            const LOOP: &'static str = "";
            const CODEC: #private::CodecOf<__GokaValue> = #private::broken();
        }
    }
}

/// The parameters of an `impl`, and its bounds.
fn parameters(generics: Option<&Generics>) -> (TokenStream, TokenStream) {
    let Some(generics) = generics else {
        return Default::default();
    };
    let (parameters, _, bounds) = generics.split_for_impl();
    (quote!(#parameters), quote!(#bounds))
}

/// The processor's type.
fn unit(
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
fn at(span: Span) -> Span {
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
