//! The attribute macros of goka. Use them through the facade crate `goka`, which documents them.
//!
//! Each has the same steps: tokens → `parse` → syntax → `check` → model → `expand`. `GOKA_MACROS_DEBUG=Name` prints the expansion of the item that defines `Name`.

#![allow(missing_docs)] // documented where they are re-exported

mod check;
mod derive;
mod diag;
mod expand;
mod model;
mod parse;
mod paths;
mod simulate;
mod syntax;
mod words;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Item, ItemStruct};

use diag::Diag;
use syntax::TopicSyntax;
use words::{ProcessorAttribute, Vocabulary};

macro_rules! attributes {
    ($($name:ident: $expand:path $(, $with:expr)?;)*) => {$(
        #[proc_macro_attribute]
        pub fn $name(
            arguments: proc_macro::TokenStream,
            item: proc_macro::TokenStream,
        ) -> proc_macro::TokenStream {
            $expand(arguments.into(), item.into() $(, $with)?).into()
        }
    )*};
}

attributes! {
    stream: expand_topic, &words::STREAM;
    table: expand_topic, &words::TABLE;
    processor: expand_processor;
    simulate: simulate::expand_simulate;
    input: expand_attribute, "input";
    output: expand_attribute, "output";
    join: expand_attribute, "join";
    lookup: expand_attribute, "lookup";
    loopback: expand_attribute, "loopback";
    visit: expand_attribute, "visit";
    timer: expand_attribute, "timer";
    // Attributes of Goka's. `#[processor]` reports those below it; for those above it these macros do.
    persist: expand_attribute, "persist";
    cross: expand_attribute, "cross";
}

#[proc_macro_derive(Codec, attributes(codec))]
pub fn derive_codec(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive::run(item.into(), derive::codec).into()
}

#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive::run(item.into(), derive::key).into()
}

#[proc_macro_derive(Schema, attributes(schema))]
pub fn derive_schema(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive::run(item.into(), derive::schema).into()
}

fn expand_topic(arguments: TokenStream, item: TokenStream, words: &Vocabulary) -> TokenStream {
    let mut diag = Diag::default();
    let options = parse::topic::arguments(arguments, words, &mut diag);
    let Ok(item) = syn::parse2::<ItemStruct>(item.clone()) else {
        let message = format!("`#[{}]` goes on a unit struct", words.attribute);
        diag.at(first_token(item.clone()), message, "`pub struct Name;`");
        let errors = diag.finish();
        return quote!(#item #errors);
    };
    let name = item.ident.to_string();
    let syntax = TopicSyntax {
        options,
        item,
        is_table: words.attribute == words::TABLE.attribute,
    };
    let item = expand::topic(&check::topic(syntax, &mut diag));
    let errors = diag.finish();
    debug(&name, quote!(#item #errors))
}

fn expand_processor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut diag = Diag::default();
    let options = parse::processor::arguments(arguments, &mut diag);
    let read = match syn::parse2(item.clone()) {
        Ok(Item::Fn(function)) => Ok(parse::processor::function(options, function, &mut diag)),
        Ok(Item::Impl(block)) => parse::processor::block(options, block, &mut diag)
            .map_err(|block| parse::edge::without(Item::Impl(*block))),
        Ok(other) => {
            let message = "`#[processor]` goes on a function or on the `impl` of a type";
            let help = "`fn name(ctx: &mut Context, value: T) -> Result<()>`";
            diag.at(first_token(item), message, help);
            Err(parse::edge::without(other))
        }
        Err(error) => {
            diag.push(error);
            Err(item)
        }
    };
    let (name, item) = match read {
        Ok(syntax) => {
            let processor = check::processor(syntax, &mut diag);
            (processor.ident.to_string(), expand::processor(&processor))
        }
        Err(item) => (String::new(), item),
    };
    let errors = diag.finish();
    debug(&name, quote!(#item #errors))
}

/// `#[input]` or another attribute of a processor, expanded by itself. Above a `#[processor]` it moves itself below
/// it, where the processor finds it; without a `#[processor]` it is a mistake.
fn expand_attribute(arguments: TokenStream, item: TokenStream, name: &str) -> TokenStream {
    let Ok(Attributed { attributes, rest }) = syn::parse2(item.clone()) else {
        return item;
    };
    let is_processor = |attribute: &Attribute| {
        parse::edge::word(attribute).is_some_and(|word| word == "processor")
    };
    if attributes.iter().any(is_processor) {
        let (processor, others): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_processor);
        let own = Ident::new(name, Span::call_site());
        let arguments = Some(arguments).filter(|given| !given.is_empty());
        let arguments = arguments.iter();
        // In front of the others, because it was above them: the first input decides the key type.
        return quote!(#(#processor)* #[#own #((#arguments))*] #(#others)* #rest);
    }
    let mut diag = Diag::default();
    let alone = format!("`#[{name}]` has a meaning only beside `#[processor(..)]`");
    let (message, help) = match words::processor_attribute(name) {
        Some(ProcessorAttribute::Edge(word)) if word.is_own() => (
            alone,
            "`#[processor(group = \"..\")]` on the `impl` around it",
        ),
        Some(ProcessorAttribute::Instead(help)) => (format!("there is no `#[{name}]`"), help),
        Some(ProcessorAttribute::Later) => {
            (format!("`#[{name}]` is not available yet"), "leave it out")
        }
        _ => (
            alone,
            "`#[processor(group = \"..\")]` on the same function or `impl`",
        ),
    };
    diag.span(Span::call_site(), message, help);
    let errors = diag.finish();
    // The others would report the same mistake again.
    let item = match syn::parse2(item.clone()) {
        Ok(parsed) => parse::edge::without(parsed),
        Err(_) => item,
    };
    quote!(#item #errors)
}

/// The first token of an item after its attributes: the place of the error that its kind is wrong.
fn first_token(item: TokenStream) -> TokenStream {
    let rest = syn::parse2::<Attributed>(item.clone()).map_or(item, |item| item.rest);
    rest.into_iter().take(1).collect()
}

/// An item of which only the attributes have been read.
struct Attributed {
    attributes: Vec<Attribute>,
    rest: TokenStream,
}

impl Parse for Attributed {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            rest: input.parse()?,
        })
    }
}

/// Prints an expansion if `GOKA_MACROS_DEBUG` names it.
fn debug(name: &str, expansion: TokenStream) -> TokenStream {
    if std::env::var("GOKA_MACROS_DEBUG").is_ok_and(|wanted| wanted == name) {
        eprintln!("{expansion}");
    }
    expansion
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
