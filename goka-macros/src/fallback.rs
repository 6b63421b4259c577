//! What is emitted when there are mistakes: the stripped item, the errors, and impls that keep
//! rustc from complaining about what follows from them. Never the registration.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Item, LitStr, Type, parse_quote};

use crate::check::is_type;
use crate::expand::{Implementation, place, unit};
use crate::model::Value;
use crate::paths;
use crate::syntax::{Arg, ProcessorSyntax, TopicSyntax, bare, type_text};
use crate::words::EdgeWord;

/// A topic with mistakes.
pub(crate) fn topic(syntax: &TopicSyntax) -> TokenStream {
    let TopicSyntax {
        options,
        item,
        is_table,
    } = syntax;
    // A type with parameters has no impl to offer that fits.
    if !item.generics.params.is_empty() {
        return quote!(#item);
    }
    let bytes: Type = parse_quote!(::std::vec::Vec<u8>);
    let value = value(options.value.as_ref(), options.codec.as_ref()).unwrap_or(Value {
        given: bytes,
        codec: None,
    });
    let nameless = LitStr::new("", Span::call_site());
    let implementation = stub(
        &item.ident,
        options.name.as_ref().unwrap_or(&nameless),
        options.key.as_ref().map(|key| &key.value),
        &value,
        options.partitioner.as_ref().map(|p| &p.value),
        *is_table,
    );
    quote! {
        #item
        const _: () = { #implementation };
    }
}

fn stub(
    ident: &Ident,
    name: &LitStr,
    key: Option<&Type>,
    value: &Value,
    partitioner: Option<&Type>,
    is_table: bool,
) -> TokenStream {
    let implementation = Implementation {
        ident,
        name,
        key: key.map_or_else(paths::string, |key| quote!(#key)),
        value,
        partitioner: typed(partitioner).map_or_else(paths::murmur2, |p| quote!(#p)),
        partitions: quote!(::core::option::Option::None),
        is_table,
    };
    implementation.expand()
}

/// The values as they were given; not with two codecs.
fn value(given: Option<&Arg<Type>>, codec: Option<&Arg<Type>>) -> Option<Value> {
    let given = given?.value.clone();
    let codec = codec.map(|codec| codec.value.clone());
    let codec = codec.filter(|_| type_text(&bare(&given)) == type_text(&given));
    Some(Value { given, codec })
}

/// A partitioner that is a type; for a function the default stands in.
fn typed(partitioner: Option<&Type>) -> Option<&Type> {
    partitioner.filter(|given| place::function(given).is_none())
}

/// A processor with mistakes.
pub(crate) fn processor(syntax: &ProcessorSyntax) -> TokenStream {
    let private = paths::private();
    let ProcessorSyntax {
        options,
        ident,
        function,
        edges,
        ..
    } = syntax;
    let is = |path: &'static str| move |a: &&syn::Attribute| a.path().is_ident(path);
    let docs = function.attrs.iter().filter(is("doc"));
    let cfgs: Vec<_> = function.attrs.iter().filter(is("cfg")).collect();
    let docs = quote!(#(#docs)* #[doc = " A processor with mistakes."]);
    let unit = unit(&docs, &cfgs, &function.vis, ident);

    // The first input may be the mistake itself: the group's own table would ask for itself.
    let inputs = edges.iter().filter(|edge| edge.word == EdgeWord::Input);
    let mut types = inputs.filter_map(|edge| edge.target.ty());
    let first = types.find(|ty| !is_type(ty, ident));
    let of_first = |item: &str| -> Option<Type> {
        let first = first?;
        let item = Ident::new(item, Span::call_site());
        Some(parse_quote!(<#first as #private::Topic>::#item))
    };
    let key = match &options.key {
        Some(key) => Some(key.value.clone()),
        None => of_first("Key"),
    };
    let partitioner = match &options.partitioner {
        Some(partitioner) => Some(partitioner.value.clone()),
        None => of_first("Partitioner"),
    };
    let persist = value(options.persist.as_ref(), options.codec.as_ref());
    let table = persist.map(|value| {
        let nameless = LitStr::new("", Span::call_site());
        let table = stub(
            ident,
            &nameless,
            key.as_ref(),
            &value,
            partitioner.as_ref(),
            true,
        );
        let value = value.bare();
        quote! {
            #table
            impl #private::Persists<#value> for #ident {
                const TABLE: &'static str = "";
                const CODEC: #private::CodecOf<#value> = <Self as #private::Topic>::CODEC;
            }
        }
    });
    let mut emitted = Vec::new();
    let outputs = edges.iter().filter_map(|edge| {
        let ty = edge.target.ty()?;
        let text = edge.target.text();
        if edge.word != EdgeWord::Output || emitted.contains(&text) {
            return None;
        }
        emitted.push(text);
        Some(quote!(impl #private::Emits<#ty> for #ident {}))
    });
    let key = key.map_or_else(paths::string, |key| quote!(#key));
    let partitioner = typed(partitioner.as_ref()).map_or_else(paths::murmur2, |p| quote!(#p));
    quote! {
        #function
        #unit
        #(#cfgs)*
        const _: () = {
            impl #private::Processor for #ident {
                type Key = #key;
                type Partitioner = #partitioner;
                const DEFINITION: &'static #private::Definition = &#private::BROKEN;
            }
            #table
            #(#outputs)*
        };
    }
}

/// An item that no attribute of ours goes on, without the attributes that would complain again.
pub(crate) fn item(mut item: Item) -> TokenStream {
    use crate::parse::edge::word;
    let ours = |attribute: &syn::Attribute| {
        word(attribute).is_some_and(|word| crate::words::beside(&word).is_some())
    };
    match &mut item {
        Item::Fn(function) => function.attrs.retain(|a| !ours(a)),
        Item::Struct(structure) => structure.attrs.retain(|a| !ours(a)),
        Item::Impl(block) => {
            block.attrs.retain(|a| !ours(a));
            for item in &mut block.items {
                if let syn::ImplItem::Fn(function) = item {
                    function.attrs.retain(|a| !ours(a));
                }
            }
        }
        _ => {}
    }
    quote!(#item)
}
