//! The attributes of serde that change the JSON that its derives write. Unknown ones are left to serde.

use proc_macro2::TokenTree;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, LitStr, Token, Type};

/// The attributes of a container, a variant or a field.
#[derive(Default)]
pub(super) struct Serde {
    pub(super) rename: Option<String>,
    pub(super) rename_all: Option<String>,
    pub(super) rename_all_fields: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) content: Option<String>,
    pub(super) is_untagged: bool,
    pub(super) is_transparent: bool,
    /// Written by a type of another shape.
    pub(super) into: Option<Type>,
    pub(super) is_skipped: bool,
    pub(super) is_flat: bool,
    /// Written by a function of the user.
    pub(super) has_function: bool,
}

impl Serde {
    pub(super) fn of(attributes: &[Attribute]) -> Self {
        let mut serde = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("serde") {
                // serde reports what cannot be read.
                let _ = attribute.parse_nested_meta(|meta| serde.read(&meta));
            }
        }
        serde
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let Some(word) = meta.path.get_ident() else {
            return skip(meta.input);
        };
        match word.to_string().as_str() {
            "rename" => self.rename = name(meta)?.or(self.rename.take()),
            "rename_all" => self.rename_all = name(meta)?.or(self.rename_all.take()),
            "rename_all_fields" => {
                self.rename_all_fields = name(meta)?.or(self.rename_all_fields.take());
            }
            "tag" => self.tag = name(meta)?,
            "content" => self.content = name(meta)?,
            "into" => self.into = meta.value()?.parse::<LitStr>()?.parse().ok(),
            "untagged" => self.is_untagged = true,
            "transparent" => self.is_transparent = true,
            "skip" | "skip_serializing" => self.is_skipped = true,
            "flatten" => self.is_flat = true,
            "with" | "serialize_with" => {
                self.has_function = true;
                skip(meta.input)?;
            }
            _ => skip(meta.input)?,
        }
        Ok(())
    }

    /// The name of a field in JSON.
    pub(super) fn field(&self, ident: &Ident, rule: Option<&str>) -> String {
        let name = || of_field(&ident.unraw().to_string(), rule);
        self.rename.clone().unwrap_or_else(name)
    }

    /// The name of a variant in JSON.
    pub(super) fn variant(&self, ident: &Ident, rule: Option<&str>) -> String {
        let name = || of_variant(&ident.unraw().to_string(), rule);
        self.rename.clone().unwrap_or_else(name)
    }
}

/// `= ".."`, or `(serialize = "..", deserialize = "..")`: the name that is written.
fn name(meta: &ParseNestedMeta<'_>) -> syn::Result<Option<String>> {
    if meta.input.peek(Token![=]) {
        return Ok(Some(meta.value()?.parse::<LitStr>()?.value()));
    }
    let mut name = None;
    meta.parse_nested_meta(|meta| {
        let given = meta.value()?.parse::<LitStr>()?.value();
        if meta.path.is_ident("serialize") {
            name = Some(given);
        }
        Ok(())
    })?;
    Ok(name)
}

/// Skips to the next attribute.
fn skip(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// serde's `RenameRule::apply_to_field`, for fields in snake case.
fn of_field(field: &str, rule: Option<&str>) -> String {
    let pascal = || {
        let mut pascal = String::new();
        for word in field.split('_') {
            let mut letters = word.chars();
            pascal.extend(letters.next().map(|c| c.to_ascii_uppercase()));
            pascal.push_str(letters.as_str());
        }
        pascal
    };
    match rule {
        Some("UPPERCASE" | "SCREAMING_SNAKE_CASE") => field.to_ascii_uppercase(),
        Some("PascalCase") => pascal(),
        Some("camelCase") => lower_first(&pascal()),
        Some("kebab-case") => field.replace('_', "-"),
        Some("SCREAMING-KEBAB-CASE") => field.to_ascii_uppercase().replace('_', "-"),
        _ => field.to_owned(),
    }
}

/// serde's `RenameRule::apply_to_variant`, for variants in upper camel case.
fn of_variant(variant: &str, rule: Option<&str>) -> String {
    let snake = || {
        let mut snake = String::new();
        for (at, c) in variant.char_indices() {
            if at > 0 && c.is_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        snake
    };
    match rule {
        Some("lowercase") => variant.to_ascii_lowercase(),
        Some("UPPERCASE") => variant.to_ascii_uppercase(),
        Some("camelCase") => lower_first(variant),
        Some("snake_case") => snake(),
        Some("SCREAMING_SNAKE_CASE") => snake().to_ascii_uppercase(),
        Some("kebab-case") => snake().replace('_', "-"),
        Some("SCREAMING-KEBAB-CASE") => snake().to_ascii_uppercase().replace('_', "-"),
        _ => variant.to_owned(),
    }
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::{of_field, of_variant};

    #[test]
    fn names_change_as_serde_changes_them() {
        for (rule, field, variant) in [
            ("lowercase", "first_name", "verylate"),
            ("UPPERCASE", "FIRST_NAME", "VERYLATE"),
            ("PascalCase", "FirstName", "VeryLate"),
            ("camelCase", "firstName", "veryLate"),
            ("snake_case", "first_name", "very_late"),
            ("SCREAMING_SNAKE_CASE", "FIRST_NAME", "VERY_LATE"),
            ("kebab-case", "first-name", "very-late"),
            ("SCREAMING-KEBAB-CASE", "FIRST-NAME", "VERY-LATE"),
        ] {
            assert_eq!(of_field("first_name", Some(rule)), field);
            assert_eq!(of_variant("VeryLate", Some(rule)), variant);
        }
    }
}
