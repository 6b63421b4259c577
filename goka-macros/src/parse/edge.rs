//! The attributes beside `#[processor]`: `#[input(..)]`, `#[output(..)]`, and those that we know
//! and refuse. The others stay where they are.

use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Error, Ident, LitStr, Meta, Result, Token, Type};

use super::{check_topic_name, choice, options, run};
use crate::diag::{Diag, text};
use crate::syntax::{EdgeSyntax, Target, ungroup};
use crate::words::{self, Beside, EdgeWord};

/// The word of one of our attributes: `input`, `goka::input`.
pub(crate) fn word(attribute: &Attribute) -> Option<String> {
    let segments = &attribute.path().segments;
    let ours = segments.len() == 1 || segments.first()?.ident == "goka";
    ours.then(|| segments.last().map(|last| last.ident.to_string()))?
}

/// Takes our attributes out of `attributes` and reads them.
pub(crate) fn take(attributes: &mut Vec<Attribute>, diag: &mut Diag) -> Vec<EdgeSyntax> {
    let mut edges = Vec::new();
    attributes.retain(|attribute| {
        let Some(word) = word(attribute) else {
            return true;
        };
        match words::beside(&word) {
            None => return true,
            Some(Beside::Edge(edge)) => read(attribute, edge, &mut edges, diag),
            Some(Beside::Later) => diag.at(
                attribute.path(),
                format!("`#[{word}]` is not available yet"),
                "leave it out",
            ),
            Some(Beside::Instead(help)) => {
                diag.at(attribute.path(), format!("there is no `#[{word}]`"), help);
            }
        }
        false
    });
    edges
}

fn read(attribute: &Attribute, word: EdgeWord, edges: &mut Vec<EdgeSyntax>, diag: &mut Diag) {
    let name = word.name();
    let before = edges.len();
    let Meta::List(list) = &attribute.meta else {
        return diag.at(
            &attribute.meta,
            format!("`#[{name}]` names no topic"),
            &format!("`#[{name}(Topic)]`"),
        );
    };
    let mut complained = false;
    run(list.tokens.clone(), diag, |input, diag| {
        targets(input, word, edges, diag).inspect_err(|_| complained = true)
    });
    if edges.len() == before && !complained {
        diag.at(
            attribute.path(),
            format!("`#[{name}]` names no topic"),
            &format!("`#[{name}(Topic)]`"),
        );
    }
}

fn targets(
    input: ParseStream,
    word: EdgeWord,
    edges: &mut Vec<EdgeSyntax>,
    diag: &mut Diag,
) -> Result<()> {
    let name = word.name();
    while !input.is_empty() {
        if input.peek(Ident::peek_any) && input.peek2(Token![=]) {
            options(input, word.vocabulary(), diag, |_, input, _| start(input));
            return Ok(());
        }
        let target = if input.peek(LitStr) {
            let topic: LitStr = input.parse()?;
            check_topic_name(&topic, &topic.value(), diag);
            Target::Named(topic)
        } else {
            let before = input.span();
            let ty = input.parse::<Type>().map_err(|_| {
                let found = format!("`#[{name}]` takes topic types, or names as string literals");
                Error::new(before, text(&found, &format!("`#[{name}(Topic)]`")))
            })?;
            Target::Typed(Box::new(ungroup(ty)))
        };
        edges.push(EdgeSyntax { word, target });
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

/// `start = earliest`, the only one there is.
fn start(input: ParseStream) -> Result<()> {
    let (found, span) = choice(input)?;
    match found.as_str() {
        "earliest" => Ok(()),
        "latest" => Err(Error::new(
            span,
            text(
                "`start = latest` is not available yet",
                "`start = earliest` is the default",
            ),
        )),
        _ => Err(Error::new(
            span,
            text(&format!("unknown start `{found}`"), "`start = earliest`"),
        )),
    }
}
