//! The arguments of `#[stream(..)]` and `#[table(..)]`.

use proc_macro2::{Span, TokenStream};
use syn::{LitStr, Token};

use super::{check_topic_name, options, run, type_value, value};
use crate::diag::Diag;
use crate::syntax::TopicOptions;
use crate::words::Vocabulary;

pub(crate) fn arguments(
    tokens: TokenStream,
    vocabulary: &Vocabulary,
    diag: &mut Diag,
) -> TopicOptions {
    let mut topic = TopicOptions::default();
    let attribute = vocabulary.attribute;
    run(tokens, diag, |input, diag| {
        match input.parse::<LitStr>() {
            Ok(name) => {
                check_topic_name(&name, &name.value(), diag);
                topic.name = Some(name);
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Err(_) => diag.span(
                if input.is_empty() {
                    Span::call_site()
                } else {
                    input.span()
                },
                format!("`#[{attribute}]` begins with the topic's name, as a string literal"),
                &format!("`#[{attribute}(\"..\", key = .., value = ..)]`"),
            ),
        }
        // A name of another kind: what follows it can still be read.
        if topic.name.is_none() && !input.peek2(Token![=]) {
            super::skip(input);
        }
        options(input, vocabulary, diag, |word, input, _| {
            match word.to_string().as_str() {
                "key" => topic.key = Some(type_value(word, input)?),
                "value" => topic.value = Some(type_value(word, input)?),
                "partitioner" => topic.partitioner = Some(type_value(word, input)?),
                _ => topic.partitions = Some(value(word, input, "a number", "")?),
            }
            Ok(())
        });
        Ok(())
    });
    topic
}
