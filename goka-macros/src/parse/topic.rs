//! The arguments of `#[stream(..)]` and `#[table(..)]`.

use proc_macro2::TokenStream;
use syn::{LitStr, Token};

use super::{check_name, options, root, run, skip, type_value, value};
use crate::diag::Diag;
use crate::syntax::TopicOptions;
use crate::words::Vocabulary;

pub(crate) fn arguments(
    tokens: TokenStream,
    vocabulary: &Vocabulary,
    diag: &mut Diag,
) -> TopicOptions {
    let (mut options, complete) = diag.part(|diag| read(tokens, vocabulary, diag));
    options.complete = complete;
    options
}

fn read(tokens: TokenStream, vocabulary: &Vocabulary, diag: &mut Diag) -> TopicOptions {
    let mut topic = TopicOptions::default();
    let attribute = vocabulary.attribute;
    run(tokens, diag, |input, diag| {
        if let Ok(name) = input.parse::<LitStr>() {
            check_name(&name, "topic", &name.value(), diag);
            topic.name = Some(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        } else {
            // At the end of the tokens the span is that of the whole attribute.
            let message =
                format!("`#[{attribute}]` begins with the topic's name, as a string literal");
            let help = format!("`#[{attribute}(\"..\", key = .., value = ..)]`");
            diag.span(input.span(), message, &help);
            // After a name that is not a string the options can still be read.
            if !input.peek2(Token![=]) {
                skip(input);
            }
        }
        options(input, vocabulary, diag, |word, input, _| {
            match word.to_string().as_str() {
                "crate" => topic.root = Some(root(&word, input)?),
                "key" => topic.key = Some(type_value(word, input)?),
                "value" => topic.value = Some(type_value(word, input)?),
                "codec" => topic.codec = Some(type_value(word, input)?),
                "keyless" => topic.keyless = Some(word),
                "partitioner" => topic.partitioner = Some(type_value(word, input)?),
                _ => topic.partitions = Some(value(word, input, "a number", "")?),
            }
            Ok(())
        });
        Ok(())
    });
    topic
}
