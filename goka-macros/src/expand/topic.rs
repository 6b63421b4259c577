//! The impls of `Topic` and `Table`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Generics, LitStr};

use super::{codec_with, graph, of_topic, parameters, partitioner, ty};
use crate::model::Value;
use crate::{model, paths};

/// Expands `#[stream(..)]` and `#[table(..)]`.
pub(crate) fn topic(topic: &model::Topic) -> TokenStream {
    let item = &topic.item;
    // For a type with parameters, a mistake, no fitting impl can be generated.
    if !item.generics.params.is_empty() {
        return quote!(#item);
    }
    let cfgs = item.attrs.iter().filter(|a| a.path().is_ident("cfg"));
    let key = match &topic.key {
        Some(key) => quote!(#key),
        None => paths::string(),
    };
    let wrapper = partitioner::item(topic.partitioner.as_ref());
    let partitioner = topic
        .partitioner
        .as_ref()
        .map_or_else(paths::murmur2, partitioner::ty);
    let partitions = match &topic.partitions {
        Some(count) => {
            let span = count.span();
            let private = paths::private_at(span);
            quote_spanned!(span=> #private::partitions(#count))
        }
        None => quote!(::core::option::Option::None),
    };
    let implementation = Implementation {
        this: &item.ident,
        generics: None,
        name: &topic.name,
        key,
        value: &topic.value,
        partitioner,
        partitions,
        is_table: topic.is_table,
        is_group: false,
    };
    let implementation = implementation.expand();
    let block = paths::block(topic.root.as_ref(), &quote!(#wrapper #implementation));
    quote!(#item #(#cfgs)* #block)
}

/// The processor's type as the type of its table.
pub(super) fn group_table(processor: &model::Processor) -> Option<TokenStream> {
    let private = paths::private();
    let value = processor.persist.as_ref()?;
    // With the span of the value type, so that rustc's errors about both are one.
    let own = |item: &str, is: &TokenStream| {
        let span = is.span();
        let (private, item) = (paths::private_at(span), Ident::new(item, span));
        quote_spanned!(span=> <Self as #private::Processor>::#item)
    };
    let this = &processor.this;
    let generics = processor.form.generics();
    let name = LitStr::new(&processor.table_name(), processor.group.span());
    let partitions = match processor.first_typed() {
        Some(first) => of_topic(first, "PARTITIONS"),
        None => quote!(::core::option::Option::None),
    };
    let implementation = Implementation {
        this,
        generics,
        name: &name,
        key: own("Key", &graph::key(processor)),
        value,
        partitioner: own("Partitioner", &graph::partitioner(processor)),
        partitions,
        is_table: true,
        is_group: true,
    };
    let implementation = implementation.expand();
    let value = value.bare();
    let (parameters, bounds) = parameters(generics);
    Some(quote! {
        #implementation
        impl #parameters #private::Persists<#value> for #this #bounds { type Table = Self; }
    })
}

struct Implementation<'m> {
    this: &'m dyn ToTokens,
    /// The parameters of `this`.
    generics: Option<&'m Generics>,
    name: &'m LitStr,
    key: TokenStream,
    value: &'m Value,
    partitioner: TokenStream,
    partitions: TokenStream,
    is_table: bool,
    /// Whether it is a group table.
    is_group: bool,
}

impl Implementation<'_> {
    fn expand(&self) -> TokenStream {
        let private = paths::private();
        let Self {
            this,
            generics,
            name,
            key,
            value,
            partitioner,
            partitions,
            is_table,
            is_group,
        } = self;
        let key = ty("Key", key);
        let partitioner = ty("Partitioner", partitioner);
        let codec = codec_with(value);
        let value = ty("Value", &value.bare().into_token_stream());
        let (parameters, bounds) = parameters(*generics);
        let table = is_table.then(|| quote!(impl #parameters #private::Table for #this #bounds {}));
        let kind = match (is_table, is_group) {
            (_, true) => quote!(const KIND: #private::TopicKind = #private::TopicKind::GroupTable;),
            (true, false) => quote!(const KIND: #private::TopicKind = #private::TopicKind::Table;),
            (false, false) => quote!(),
        };
        quote! {
            impl #parameters #private::Topic for #this #bounds {
                #key
                #value
                #partitioner
                const NAME: &'static str = #name;
                const CODEC: #private::CodecOf<Self::Value> = #codec;
                const PARTITIONS: ::core::option::Option<i32> = #partitions;
                #kind
            }
            #table
        }
    }
}
