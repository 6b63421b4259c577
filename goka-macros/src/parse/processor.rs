//! The options of `#[processor(..)]`, and the function or the `impl` below it.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{
    Attribute, Error, Ident, ImplItem, ImplItemFn, ItemFn, ItemImpl, LitStr, Result, Type,
    parse_quote,
};

use super::edge::Place;
use super::{
    check_letters, check_name, choice, edge, handler, options, root, run, type_value, value,
};
use crate::diag::{Diag, text};
use crate::syntax::{
    EdgeSyntax, Form, Guarantee, ProcessorOptions, ProcessorSyntax, Target, ungroup,
};
use crate::words::{EdgeWord, PROCESSOR};

pub(crate) fn arguments(tokens: TokenStream, diag: &mut Diag) -> ProcessorOptions {
    let (mut options, complete) = diag.part(|diag| read(tokens, diag));
    options.complete = complete;
    options
}

fn read(tokens: TokenStream, diag: &mut Diag) -> ProcessorOptions {
    let mut read = ProcessorOptions::default();
    let mut words = None;
    run(tokens, diag, |input, diag| {
        words = options(input, &PROCESSOR, diag, |word, input, diag| {
            match word.to_string().as_str() {
                "group" => {
                    let group = value(word, input, "a string literal", "`group = \"..\"`")?;
                    check_name(&group.value, "group", "", diag);
                    read.group = Some(group);
                }
                "persist" => read.persist = Some(type_value(word, input)?),
                "crate" => read.root = Some(root(&word, input)?),
                "key" => read.key = Some(type_value(word, input)?),
                "codec" => read.codec = Some(type_value(word, input)?),
                "partitioner" => read.partitioner = Some(type_value(word, input)?),
                "name" => {
                    read.name = Some(value(word, input, "the name of a type", "`name = Name`")?)
                }
                "suffix" => {
                    let help = "`suffix = \"-table\"`";
                    let suffix = value::<LitStr>(word, input, "a string literal", help)?;
                    check_letters(&suffix.value, "suffix", diag);
                    read.suffix = Some(suffix);
                }
                "guarantee" => read.guarantee = guarantee(input)?,
                _ => on_misplaced(input)?,
            }
            Ok(())
        });
        Ok(())
    });
    // After an unknown word, which may be a misspelled `group`, a missing group is not reported.
    if words.is_some_and(|words| words.iter().all(|word| word != "group")) {
        diag.span(
            Span::call_site(),
            "a processor needs a group",
            "`#[processor(group = \"..\")]`",
        );
    }
    read
}

fn guarantee(input: ParseStream) -> Result<Guarantee> {
    let (found, span) = choice(input)?;
    match found.as_str() {
        "at-least-once" => Ok(Guarantee::AtLeastOnce),
        "exactly-once" => Ok(Guarantee::ExactlyOnce),
        _ => {
            let message = format!("unknown guarantee `{found}`");
            let help = "`guarantee = \"exactly-once\"` or `guarantee = \"at-least-once\"`";
            Err(Error::new(span, text(&message, help)))
        }
    }
}

fn on_misplaced(input: ParseStream) -> Result<()> {
    let (found, span) = choice(input)?;
    let message = match found.as_str() {
        "fail" => return Ok(()),
        "warn" | "allow" => format!("`on_misplaced = {found}` is not available yet"),
        _ => format!("unknown answer `{found}` to a misplaced record"),
    };
    let help = "`on_misplaced = fail` is the default";
    Err(Error::new(span, text(&message, help)))
}

/// Reads the function: takes the attributes of this crate out and completes its context.
pub(crate) fn function(
    options: ProcessorOptions,
    mut function: ItemFn,
    diag: &mut Diag,
) -> ProcessorSyntax {
    let named = options.name.as_ref().map(|name| &name.value);
    let mut ident = match named {
        Some(name) => name.clone(),
        None => upper_camel(&function.sig.ident),
    };
    let (mut edges, edges_complete) =
        diag.part(|diag| edge::take(&mut function.attrs, Place::Function, diag));
    let like = match () {
        () if ident == function.sig.ident => Some("like its function"),
        // The handler's own signature has `Context` and `Result`; a type of that name would hide them.
        () if ident == "Context" || ident == "Result" => {
            Some("like what its handler takes or returns")
        }
        () => edges.iter().find_map(|edge| like_topic(edge, &ident)),
    };
    if let Some(like) = like {
        diag.at(
            named.unwrap_or(&function.sig.ident),
            format!("the processor's type would be called `{ident}` {like}"),
            match options.persist {
                Some(_) => {
                    "give it a name of its own: `#[processor(.., name = Name)]`; its own table is \
                     read with `ctx.value()`"
                }
                None => "give it a name of its own: `#[processor(.., name = Name)]`",
            },
        );
        // With another name the rest can be read as if there were no mistake.
        ident = Ident::new(&format!("{ident}Processor"), ident.span());
    }
    let read = handler::read(&mut function.sig, &ident, false, diag);
    for edge in edges.iter_mut().filter(|edge| edge.word.has_handler()) {
        edge.handler.clone_from(&read);
    }
    let this: Type = parse_quote!(#ident);
    handler::fill(&mut function.sig, &this, None);
    ProcessorSyntax {
        options,
        this,
        ident,
        form: Form::Function(function),
        edges,
        edges_complete,
        keyings: Vec::new(),
        may_rekey: false,
    }
}

/// Says which topic has the name of a processor's type. A table of that name may be the processor's own, which is
/// another mistake.
fn like_topic(edge: &EdgeSyntax, ident: &Ident) -> Option<&'static str> {
    let like = match edge.word {
        EdgeWord::Input => "like its input",
        EdgeWord::Output => "like its output",
        _ => return None,
    };
    let topic = edge.target.as_ref()?.ty()?;
    matches!(topic, Type::Path(path) if path.path.is_ident(ident)).then_some(like)
}

/// Reads the `impl`: takes the attributes of this crate out and completes its contexts. `None` if it is for a type
/// that cannot be a processor.
pub(crate) fn block(
    options: ProcessorOptions,
    mut block: ItemImpl,
    diag: &mut Diag,
) -> std::result::Result<ProcessorSyntax, Box<ItemImpl>> {
    let this = ungroup((*block.self_ty).clone());
    let ident = match &this {
        _ if block.trait_.is_some() => None,
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    };
    let Some(ident) = ident.map(|last| last.ident.clone()) else {
        check_inherent(&block, diag);
        return Err(Box::new(block));
    };
    if let Some(name) = &options.name {
        diag.at(
            &name.word,
            format!("`name` is an option of a processor on a function, `{ident}` has its name"),
            "leave it out",
        );
    }
    // A processor lives as long as the program, so its parameters have to be `'static`.
    let parameters: Vec<_> = block
        .generics
        .type_params()
        .map(|p| p.ident.clone())
        .collect();
    for parameter in parameters {
        let bounds = block.generics.make_where_clause();
        bounds.predicates.push(parse_quote!(#parameter: 'static));
    }
    let (mut edges, mut edges_complete) =
        diag.part(|diag| edge::take(&mut block.attrs, Place::Block, diag));
    let mut topics = Vec::new();
    for method in methods(&mut block) {
        let (mut own, complete) =
            diag.part(|diag| edge::take(&mut method.attrs, Place::Method, diag));
        edges_complete &= complete;
        let keying = keying(&own).cloned();
        if own.iter().any(|edge| edge.word.has_handler()) {
            check_unconditional(&method.attrs, diag);
            let mut read = handler::read(&mut method.sig, &ident, true, diag);
            if let Some(handler) = &mut read {
                handler.keying.clone_from(&keying);
            }
            for edge in own.iter_mut().filter(|edge| edge.word.has_handler()) {
                edge.handler.clone_from(&read);
                let name = method.sig.ident.unraw();
                if edge.name.is_none() {
                    edge.name = Some(LitStr::new(&name.to_string(), name.span()));
                }
            }
        }
        topics.push(keying);
        edges.append(&mut own);
    }
    let mut edge_words = edges.iter().map(|edge| edge.word);
    let has_keys = options.persist.is_some() || edge_words.any(|word| word == EdgeWord::Loopback);
    let may_rekey = has_keys && block.generics.params.is_empty();
    let mut keyings = Vec::new();
    for (method, topic) in methods(&mut block).zip(topics) {
        let topic = topic.filter(|_| may_rekey);
        let at = topic.is_some().then_some(keyings.len());
        let keying = at.map(|at| handler::keying(at, options.root.as_ref()));
        handler::fill(&mut method.sig, &parse_quote!(Self), keying.as_ref());
        keyings.extend(topic);
    }
    Ok(ProcessorSyntax {
        options,
        this,
        ident,
        form: Form::Block(block),
        edges,
        edges_complete,
        keyings,
        may_rekey,
    })
}

fn methods(block: &mut ItemImpl) -> impl Iterator<Item = &mut ImplItemFn> {
    block.items.iter_mut().filter_map(|item| match item {
        ImplItem::Fn(method) => Some(method),
        _ => None,
    })
}

/// The topic that decides whether the records of a method have keys, by its attributes: see
/// [`HandlerSyntax::keying`](crate::syntax::HandlerSyntax::keying).
fn keying(edges: &[EdgeSyntax]) -> Option<&Type> {
    let mut topics = edges.iter().filter(|edge| edge.word.has_handler());
    let first = topics.next()?.target.as_ref()?.ty();
    let typed = |edge: &EdgeSyntax| matches!(edge.target, Some(Target::Typed(_)));
    first.filter(|_| topics.all(typed))
}

/// ```text
/// #[processor(group = "g")] impl Handle for Mailbox { .. }
/// #[processor(group = "g")] impl (A, B) { .. }
/// ```
fn check_inherent(block: &ItemImpl, diag: &mut Diag) {
    if let Some((path, _)) = &block.trait_ {
        let this = crate::syntax::type_text(&block.self_ty);
        diag.at(
            path,
            "a processor is the `impl` of a type, not of a trait for it",
            &format!("`impl {this} {{ .. }}`"),
        );
    } else {
        diag.at(
            &block.self_ty,
            "a processor is a type with a name",
            "`impl Name { .. }`",
        );
    }
}

/// ```text
/// impl Mailbox { #[cfg(feature = "receipts")] #[loopback] fn on_receipt(..) }
/// ```
fn check_unconditional(attributes: &[Attribute], diag: &mut Diag) {
    let conditional = |attribute: &&Attribute| {
        attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
    };
    if let Some(attribute) = attributes.iter().find(conditional) {
        diag.at(
            attribute.path(),
            "a handler is there or not with its processor",
            "put the `cfg` on the whole `impl`, and write another one without the handler",
        );
    }
}

/// `click_count` to `ClickCount`, `r#match` to `Match`.
pub(crate) fn upper_camel(name: &Ident) -> Ident {
    let mut camel = String::new();
    for word in name.unraw().to_string().split('_') {
        let mut letters = word.chars();
        camel.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(letters.as_str());
    }
    // `fn _0` and `fn r#self_` give no valid name, or a keyword that cannot be raw.
    match syn::parse_str::<Ident>(&camel) {
        Ok(_) => Ident::new(&camel, name.span()),
        Err(_) => Ident::new(&format!("_{camel}_"), name.span()),
    }
}

#[cfg(test)]
mod tests {
    use super::upper_camel;
    use proc_macro2::Span;
    use syn::Ident;

    #[test]
    fn types_are_named_after_functions() {
        for (function, ty) in [
            ("process", "Process"),
            ("click_count", "ClickCount"),
            ("_clicks__by_1user_", "ClicksBy1user"),
            ("größe", "Größe"),
            ("self_", "_Self_"),
            ("_0", "_0_"),
            ("__", "__"),
        ] {
            let function = Ident::new(function, Span::call_site());
            assert_eq!(upper_camel(&function).to_string(), ty);
        }
        let raw = Ident::new_raw("match", Span::call_site());
        assert_eq!(upper_camel(&raw).to_string(), "Match");
    }
}
