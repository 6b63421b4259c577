//! The helper attributes of a processor, on its function or `impl` and on the methods: `#[input(..)]` and the other
//! edges, and known words that are refused. Called by `parse/processor.rs`. Attributes of others stay where they are.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, ImplItem, Item, LitStr, Meta, Result, Token, Type};

use super::{check_name, choice, options, run, value};
use crate::diag::{Diag, text};
use crate::syntax::{EdgeSyntax, Start, Target, ungroup};
use crate::words::{self, EdgeWord, ProcessorAttribute};

/// The word of an attribute that may be of this crate: `input` of `#[input]` and of `#[goka::input]`. Whether it is,
/// [`words::beside`] knows.
pub(crate) fn word(attribute: &Attribute) -> Option<String> {
    let segments = &attribute.path().segments;
    let ours = segments.len() == 1 || segments.first()?.ident == "goka";
    ours.then(|| segments.last().map(|last| last.ident.to_string()))?
}

/// The item that an attribute is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A function that is a processor.
    Function,
    /// An `impl` block that is a processor.
    Block,
    /// A method in such a block: a handler.
    Method,
}

/// Takes the attributes of this crate out of `attributes` and reads them. An attribute with several topics gives an
/// edge for each. The caller sets the handlers.
pub(crate) fn take(
    attributes: &mut Vec<Attribute>,
    place: Place,
    diag: &mut Diag,
) -> Vec<EdgeSyntax> {
    let mut edges = Vec::new();
    attributes.retain(|attribute| {
        let Some(word) = word(attribute) else {
            return true;
        };
        match words::processor_attribute(&word) {
            None => return true,
            Some(ProcessorAttribute::Edge(edge)) => {
                // It is read although it is in the wrong place: without it there would be follow-on errors.
                check_place(attribute, edge, place, diag);
                read(attribute, edge, &mut edges, diag);
            }
            Some(ProcessorAttribute::Later) => diag.at(
                attribute.path(),
                format!("`#[{word}]` is not available yet"),
                "leave it out",
            ),
            Some(ProcessorAttribute::Instead(help)) => {
                diag.at(attribute.path(), format!("there is no `#[{word}]`"), help);
            }
        }
        false
    });
    edges
}

/// An item on which no attribute of this crate may be, without those that would report it again.
pub(crate) fn without(mut item: Item) -> TokenStream {
    let strip = |attributes: &mut Vec<Attribute>| {
        attributes.retain(|attribute| {
            let word = word(attribute);
            word.and_then(|word| words::processor_attribute(&word))
                .is_none()
        });
    };
    match &mut item {
        Item::Fn(function) => strip(&mut function.attrs),
        Item::Struct(structure) => strip(&mut structure.attrs),
        Item::Impl(block) => {
            strip(&mut block.attrs);
            for item in &mut block.items {
                if let ImplItem::Fn(function) = item {
                    strip(&mut function.attrs);
                }
            }
        }
        _ => {}
    }
    item.into_token_stream()
}

/// Reports an attribute on the wrong kind of item, as here:
/// ```text
/// #[loopback] fn count(..)      #[input(A)] impl Mailbox      impl Mailbox { #[output(A)] fn on(..) }
/// ```
fn check_place(attribute: &Attribute, word: EdgeWord, place: Place, diag: &mut Diag) {
    let name = word.name();
    let (message, help) = match (place, word.has_handler()) {
        (Place::Method, false) => (
            format!("`#[{name}]` goes on the `impl`, not on a handler"),
            format!("`#[processor(group = \"..\")] #[{name}(..)] impl Name {{ .. }}`"),
        ),
        (Place::Block, true) => (
            format!("`#[{name}]` goes on a handler, not on the `impl`"),
            format!(
                "write it above a method: `#[{name}] fn name(&self, ctx: &mut Context, value: T) -> Result<()>`"
            ),
        ),
        (Place::Function, true) if word.is_own() => (
            format!("`#[{name}]` goes on a method of a processor's `impl`"),
            format!(
                "`#[processor(group = \"..\")] impl Name {{ #[{name}] fn name(&self, ctx: &mut Context, value: T) -> Result<()> }}`"
            ),
        ),
        _ => return,
    };
    diag.at(attribute.path(), message, &help);
}

fn read(attribute: &Attribute, word: EdgeWord, edges: &mut Vec<EdgeSyntax>, diag: &mut Diag) {
    if word.is_own() {
        return own(attribute, word, edges, diag);
    }
    let name = word.name();
    let (what, help) = match word {
        EdgeWord::Join | EdgeWord::Lookup => ("table", format!("`#[{name}(Table)]`")),
        _ => ("topic", format!("`#[{name}(Topic)]`")),
    };
    let nothing = format!("`#[{name}]` names no {what}");
    let Meta::List(list) = &attribute.meta else {
        return diag.at(&attribute.meta, nothing, &help);
    };
    let (mut targets, mut begin, mut complained) = (Vec::new(), Start::default(), false);
    run(list.tokens.clone(), diag, |input, diag| {
        self::targets(input, word, &mut targets, &mut begin, diag)
            .inspect_err(|_| complained = true)
    });
    if targets.is_empty() && !complained {
        diag.at(attribute.path(), nothing, &help);
    }
    edges.extend(targets.into_iter().map(|target| EdgeSyntax {
        word,
        at: attribute.path().span(),
        target: Some(target),
        start: begin,
        name: None,
        handler: None,
    }));
}

/// `#[loopback]` or `#[visit]`.
fn own(attribute: &Attribute, word: EdgeWord, edges: &mut Vec<EdgeSyntax>, diag: &mut Diag) {
    let name = word.name();
    let mut called = None;
    match &attribute.meta {
        Meta::Path(_) => {}
        Meta::List(list) => run(list.tokens.clone(), diag, |input, diag| {
            let is_option = input.peek(Ident::peek_any) && input.peek2(Token![=]);
            if !(input.is_empty() || is_option) {
                let message = format!("`#[{name}]` names no topic: it is the group's own");
                let found = Error::new(input.span(), text(&message, &format!("`#[{name}]`")));
                return Err(found);
            }
            options(input, word.vocabulary(), diag, |word, input, diag| {
                let arg = value::<LitStr>(word, input, "a string literal", "`name = \"..\"`")?;
                if arg.value.value().is_empty() {
                    diag.at(&arg.value, "a visit's name is not empty", "`name = \"..\"`");
                }
                called = Some(arg.value);
                Ok(())
            });
            Ok(())
        }),
        Meta::NameValue(_) => diag.at(
            &attribute.meta,
            format!("`#[{name}]` takes no value"),
            &format!("`#[{name}]`"),
        ),
    }
    edges.push(EdgeSyntax {
        word,
        at: attribute.path().span(),
        target: None,
        start: Start::default(),
        name: called,
        handler: None,
    });
}

/// Reads `Topic, "name", .., start = ..`: topics first, then the options.
fn targets(
    input: ParseStream,
    word: EdgeWord,
    targets: &mut Vec<Target>,
    begin: &mut Start,
    diag: &mut Diag,
) -> Result<()> {
    let name = word.name();
    while !input.is_empty() {
        if input.peek(Ident::peek_any) && input.peek2(Token![=]) {
            options(input, word.vocabulary(), diag, |_, input, _| {
                *begin = start(input)?;
                Ok(())
            });
            return Ok(());
        }
        let target = if input.peek(LitStr) {
            let topic: LitStr = input.parse()?;
            check_name(&topic, "topic", &topic.value(), diag);
            Target::Named(topic)
        } else {
            let before = input.span();
            let ty = input.parse::<Type>().map_err(|_| {
                let (takes, help) = match word {
                    EdgeWord::Input => (
                        "topic types, or names as string literals",
                        format!("`#[{name}(Topic)]`"),
                    ),
                    EdgeWord::Output => ("topic types", format!("`#[{name}(Topic)]`")),
                    _ => ("table types", format!("`#[{name}(Table)]`")),
                };
                let found = format!("`#[{name}]` takes {takes}");
                Error::new(before, text(&found, &help))
            })?;
            Target::Typed(Box::new(ungroup(ty)))
        };
        targets.push(target);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

/// `start = earliest` or `start = latest`.
fn start(input: ParseStream) -> Result<Start> {
    let (found, span) = choice(input)?;
    match found.as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        // Words of Goka (`oldest`) and of librdkafka (`smallest`): the error names ours.
        "oldest" | "beginning" | "smallest" => Err(unknown(&found, span, "`start = earliest`")),
        "newest" | "end" | "largest" => Err(unknown(&found, span, "`start = latest`")),
        _ => Err(unknown(
            &found,
            span,
            "`start = earliest` or `start = latest`",
        )),
    }
}

fn unknown(found: &str, span: Span, help: &str) -> Error {
    Error::new(span, text(&format!("unknown start `{found}`"), help))
}
