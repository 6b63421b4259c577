//! The output if there are mistakes: the item without the attributes of this crate, the errors, and impls that
//! prevent follow-on errors of rustc. Never the registration.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Generics, Item, LitStr, Type, parse_quote};

use crate::check::is_this;
use crate::expand::{
    Implementation, first_keyed, keyings, loops, named, parameters, partitioner, unit,
};
use crate::model::{Value, may_rekey};
use crate::paths;
use crate::syntax::{Arg, EdgeSyntax, Form, ProcessorSyntax, Target, TopicSyntax, bare, type_text};
use crate::words::EdgeWord;

/// A topic with mistakes.
pub(crate) fn topic(syntax: &TopicSyntax) -> TokenStream {
    let TopicSyntax {
        options,
        item,
        is_table,
    } = syntax;
    // For a type with parameters no fitting impl can be generated.
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
        None,
        options.name.as_ref().unwrap_or(&nameless),
        options.key.as_ref().map(|key| &key.value),
        &value,
        options.partitioner.as_ref().map(|p| &p.value),
        *is_table,
    );
    let block = paths::block(options.root.as_ref(), &implementation);
    quote!(#item #block)
}

fn stub(
    this: &dyn ToTokens,
    generics: Option<&Generics>,
    name: &LitStr,
    key: Option<&Type>,
    value: &Value,
    partitioner: Option<&Type>,
    is_table: bool,
) -> TokenStream {
    let implementation = Implementation {
        this,
        generics,
        name,
        key: key.map_or_else(paths::string, |key| quote!(#key)),
        value,
        partitioner: typed(partitioner).map_or_else(paths::murmur2, |p| quote!(#p)),
        partitions: quote!(::core::option::Option::None),
        is_table,
        is_group: false,
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
    partitioner.filter(|given| partitioner::function(given).is_none())
}

/// A processor with mistakes.
pub(crate) fn processor(syntax: &ProcessorSyntax) -> TokenStream {
    let private = paths::private();
    let ProcessorSyntax {
        options,
        this,
        ident,
        form,
        edges,
        keyings,
        edges_complete: _,
    } = syntax;
    let is = |path: &'static str| move |a: &&syn::Attribute| a.path().is_ident(path);
    let cfgs: Vec<_> = form.attributes().iter().filter(is("cfg")).collect();
    let item = match form {
        Form::Function(function) => {
            let docs = function.attrs.iter().filter(is("doc"));
            let docs = quote!(#(#docs)* #[doc = " A processor with mistakes."]);
            let unit = unit(&docs, &cfgs, &function.vis, ident);
            quote!(#function #unit)
        }
        Form::Block(block) => quote!(#block),
    };
    let generics = form.generics();
    // A type with lifetimes cannot be a processor, and no fitting impl can be generated.
    if generics.is_some_and(|generics| generics.lifetimes().next().is_some()) {
        return item;
    }
    let (parameters, bounds) = parameters(generics);

    // The first input may be the mistake: with the group's own table its key type would depend on itself.
    let inputs = edges.iter().filter(|edge| edge.word == EdgeWord::Input);
    let inputs = inputs.filter_map(|edge| edge.target.as_ref()?.ty());
    // Not everything that syn reads as a type is one in every place: `A +`.
    let is_type = |ty: &Type| syn::parse2::<Type>(quote!(<#ty as X>::Y)).is_ok();
    let types: Vec<_> = inputs
        .filter(|ty| !is_this(ty, syntax) && is_type(ty))
        .collect();
    let has_keys = options.persist.is_some() || edges.iter().any(EdgeSyntax::is_loopback);
    let of_first = |item: &str| -> Option<Type> {
        let first = types.first()?;
        if may_rekey(form, has_keys) {
            return syn::parse2(first_keyed(&types, item)?).ok();
        }
        let item = Ident::new(item, Span::call_site());
        syn::parse2(quote!(<#first as #private::Topic>::#item)).ok()
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
            this,
            generics,
            &nameless,
            key.as_ref(),
            &value,
            partitioner.as_ref(),
            true,
        );
        let value = value.bare();
        quote! {
            #table
            impl #parameters #private::Persists<#value> for #this #bounds { type Table = Self; }
        }
    });
    let declared = declared(syntax);
    let keyings = may_rekey(form, has_keys).then(|| self::keyings(this, &types, keyings));
    let key = key.map_or_else(paths::string, |key| quote!(#key));
    let partitioner = typed(partitioner.as_ref()).map_or_else(paths::murmur2, |p| quote!(#p));
    let items = quote! {
        impl #parameters #private::Processor for #this #bounds {
            type Key = #key;
            type Partitioner = #partitioner;
            const DEFINITION: &'static #private::Definition = &#private::BROKEN;
        }
        #table
        #declared
        #keyings
    };
    let block = paths::block(options.root.as_ref(), &items);
    quote!(#item #(#cfgs)* #block)
}

/// The impls for the edges, each once.
fn declared(syntax: &ProcessorSyntax) -> TokenStream {
    let private = paths::private();
    let this = &syntax.this;
    let generics = syntax.form.generics();
    let (parameters, bounds) = parameters(generics);
    let mut seen = Vec::new();
    let mut impls = TokenStream::new();
    for edge in &syntax.edges {
        let text = edge.target.as_ref().map(Target::text);
        if seen.contains(&(edge.word, text.clone())) {
            continue;
        }
        seen.push((edge.word, text));
        let word = match edge.word {
            EdgeWord::Input | EdgeWord::Visit => continue,
            EdgeWord::Output => "Emits",
            EdgeWord::Join => "Joins",
            EdgeWord::Lookup => "LooksUp",
            EdgeWord::Loopback => {
                impls.extend(match &edge.handler {
                    Some(handler) => loops(this, generics, &named(&handler.value), ""),
                    // The type of its values is not known.
                    None => any_loop(this, generics),
                });
                continue;
            }
        };
        if let Some(ty) = edge.target.as_ref().and_then(Target::ty) {
            let word = Ident::new(word, Span::call_site());
            impls.extend(quote!(impl #parameters #private::#word<#ty> for #this #bounds {}));
        }
    }
    impls
}

fn any_loop(this: &Type, generics: Option<&Generics>) -> TokenStream {
    let private = paths::private();
    let mut generics = generics.cloned().unwrap_or_default();
    generics.params.push(parse_quote!(__GokaValue));
    let (parameters, bounds) = parameters(Some(&generics));
    quote! {
        impl #parameters #private::Loops<__GokaValue> for #this #bounds {
            const LOOP: &'static str = "";
            const CODEC: #private::CodecOf<__GokaValue> = #private::broken();
        }
    }
}

/// An item on which no attribute of this crate may be, without those that would report it again.
pub(crate) fn item(mut item: Item) -> TokenStream {
    use crate::parse::edge::word;
    let ours = |attribute: &syn::Attribute| {
        word(attribute).is_some_and(|word| crate::words::processor_attribute(&word).is_some())
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
