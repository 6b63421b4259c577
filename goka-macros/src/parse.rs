//! Tokens to [`Syntax`](crate::syntax): reads as much as possible and reports the rest.

pub(crate) mod edge;
pub(crate) mod handler;
pub(crate) mod processor;
pub(crate) mod topic;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Error, Ident, LitStr, Path, Result, Token, Type, token};

use crate::diag::{Diag, text};
use crate::syntax::{Arg, ungroup};
use crate::words::{FLAGS, LISTS, Standing, Vocabulary};

/// Runs a parser over all of `tokens`, and reports its error.
pub(crate) fn run(
    tokens: TokenStream,
    diag: &mut Diag,
    parse: impl FnOnce(ParseStream, &mut Diag) -> Result<()>,
) {
    let parser = |input: ParseStream| {
        if let Err(error) = parse(input, diag) {
            diag.push(error);
            // An error about the tokens that are left would be a second one.
            drain(input);
        }
        Ok(())
    };
    if let Err(error) = parser.parse2(tokens) {
        diag.push(error);
    }
}

/// Reads `word = value, ..`; `read` reads the value of a word that is known and not repeated. Returns the known
/// words; `None` if something could not be read, so that it is not known which options are missing.
pub(crate) fn options(
    input: ParseStream,
    vocabulary: &Vocabulary,
    diag: &mut Diag,
    mut read: impl FnMut(Ident, ParseStream, &mut Diag) -> Result<()>,
) -> Option<Vec<Ident>> {
    let mut seen = Vec::new();
    let mut placed = true;
    while !input.is_empty() {
        match option(input, vocabulary, &mut seen, diag, &mut read) {
            Ok(()) if input.is_empty() => {}
            Ok(()) if input.peek(Token![,]) => next(input),
            Ok(()) => {
                diag.push(input.error("expected `,`"));
                placed = false;
                skip(input);
            }
            Err(Refused { error, known }) => {
                diag.push(error);
                placed &= known;
                skip(input);
            }
        }
    }
    placed.then_some(seen)
}

/// An option that was refused, and whether its word is known.
struct Refused {
    error: Error,
    known: bool,
}

fn option(
    input: ParseStream,
    vocabulary: &Vocabulary,
    seen: &mut Vec<Ident>,
    diag: &mut Diag,
    read: &mut impl FnMut(Ident, ParseStream, &mut Diag) -> Result<()>,
) -> std::result::Result<(), Refused> {
    let attribute = vocabulary.attribute;
    let Ok(word) = input.call(Ident::parse_any) else {
        let message = format!("expected an option of `{attribute}`");
        return Err(Refused {
            error: input.error(text(&message, &vocabulary.help(""))),
            known: false,
        });
    };
    let standing = vocabulary.standing(&word.to_string());
    let refuse = |message: &str, help: &str| {
        Err(Refused {
            error: Error::new(word.span(), text(message, help)),
            known: standing.is_some(),
        })
    };
    match standing {
        Some(Standing::Known) => {}
        Some(Standing::Later) => {
            return refuse(&format!("`{word}` is not available yet"), "leave it out");
        }
        Some(Standing::Instead(help)) => {
            return refuse(&format!("`{word}` is not an option of `{attribute}`"), help);
        }
        None => {
            return refuse(
                &format!("unknown option `{word}` of `{attribute}`"),
                &vocabulary.help(&word.to_string()),
            );
        }
    }
    if seen.contains(&word) {
        return refuse(&format!("option `{word}` is given twice"), "leave one out");
    }
    seen.push(word.clone());
    if FLAGS.iter().any(|flag| word == flag) {
        if input.peek(Token![=]) {
            let message = format!("option `{word}` takes no value");
            return refuse(&message, &format!("`{word}` alone"));
        }
    } else if LISTS.iter().any(|list| word == list) {
        if !input.peek(token::Paren) {
            let message = format!("option `{word}` takes a list");
            return refuse(&message, &format!("`{word}(.., ..)`"));
        }
    } else if input.parse::<Token![=]>().is_err() || input.is_empty() || input.peek(Token![,]) {
        let message = format!("option `{word}` has no value");
        return refuse(&message, &format!("`{word} = ..`"));
    }
    read(word, input, diag).map_err(|error| Refused { error, known: true })
}

/// Reads a value with syn, and reports a message of its own if that fails.
pub(crate) fn value<T: Parse>(
    word: Ident,
    input: ParseStream,
    takes: &str,
    help: &str,
) -> Result<Arg<T>> {
    match input.parse() {
        Ok(value) => Ok(Arg { word, value }),
        Err(error) => Err(other_value(&error, &word, takes, help)),
    }
}

fn other_value(found: &Error, word: &Ident, takes: &str, help: &str) -> Error {
    let message = format!("`{word}` takes {takes}");
    Error::new(found.span(), text(&message, help))
}

/// Reads `crate = path`: where the crate `goka` is.
pub(crate) fn root(word: &Ident, input: ParseStream) -> Result<Path> {
    let help = "`crate = streams`, where `streams` is this crate under another name";
    let path = input.call(Path::parse_mod_style);
    path.map_err(|error| other_value(&error, word, "a path", help))
}

fn type_value(word: Ident, input: ParseStream) -> Result<Arg<Type>> {
    let quoted = input.fork().parse::<LitStr>().map(|quoted| quoted.value());
    let help = match quoted {
        Ok(quoted) => format!("`{word} = {quoted}`, without quotes"),
        Err(_) => String::new(),
    };
    let Arg { word, value } = value(word, input, "a type", &help)?;
    let value = ungroup(value);
    Ok(Arg { word, value })
}

/// Reads one of a few words, bare or quoted.
fn choice(input: ParseStream) -> Result<(String, Span)> {
    if input.peek(LitStr) {
        let quoted: LitStr = input.parse()?;
        return Ok((quoted.value(), quoted.span()));
    }
    let bare = Ident::parse_any(input)?;
    Ok((bare.to_string(), bare.span()))
}

/// Skips to the next `, word =` or `, word(`, or to the end, after a mistake.
fn skip(input: ParseStream) {
    let is_option = || {
        let has_more = input.peek2(Token![=]) || input.peek2(token::Paren);
        input.is_empty() || input.peek(Ident::peek_any) && has_more
    };
    while !input.is_empty() {
        let at_comma = input.peek(Token![,]);
        next(input);
        if at_comma && is_option() {
            return;
        }
    }
}

pub(crate) fn drain(input: ParseStream) {
    while !input.is_empty() {
        next(input);
    }
}

pub(crate) fn next(input: ParseStream) {
    input.parse::<TokenTree>().expect("the input is not empty");
}

const KAFKA: &str = "Kafka allows at most 249 of `a-z A-Z 0-9 . _ -`";

/// Reports a name that Kafka does not allow for a topic. `what` has the name, a topic or a group, and `made` is the
/// name of a topic that is made from it.
pub(crate) fn check_name(name: &LitStr, what: &str, made: &str, diag: &mut Diag) {
    let written = name.value();
    if written.is_empty() {
        return diag.at(name, format!("the name of a {what} is not empty"), KAFKA);
    }
    if written == "." || written == ".." {
        return diag.at(
            name,
            format!("`{written}` is not the name of a {what}"),
            KAFKA,
        );
    }
    if check_letters(name, "name", diag) {
        check_length(name, made, diag);
    }
}

/// Reports a letter that Kafka does not allow.
pub(crate) fn check_letters(name: &LitStr, what: &str, diag: &mut Diag) -> bool {
    let written = name.value();
    let illegal = |c: &char| !(c.is_ascii_alphanumeric() || "._-".contains(*c));
    if let Some((at, c)) = written.chars().enumerate().find(|(_, c)| illegal(c)) {
        diag.at(
            name,
            format!(
                "{what} `{written}` has `{}` at position {at}",
                c.escape_debug()
            ),
            KAFKA,
        );
        return false;
    }
    true
}

/// Reports a topic name that is too long for Kafka.
pub(crate) fn check_length(name: &LitStr, made: &str, diag: &mut Diag) {
    if made.len() > 249 {
        diag.at(
            name,
            format!("topic name `{made}` has {} characters", made.len()),
            KAFKA,
        );
    }
}
