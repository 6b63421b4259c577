//! Keys that are made of parts: tuples, and the prefixes of keys with the same first parts.

use super::super::Key;
use super::OrderedKey;
use crate::__private::ordered_codec;
use crate::codec::CodecError;
use crate::schema::Describer;

/// A key that is made of parts: a tuple, or a tuple struct with `#[derive(goka::Key)]`.
pub trait Composite: Key {
    /// Its parts.
    type Parts;
}

/// The first parts of a key whose parts are `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the beginning of `{T}`",
    label = "not the first parts of `{T}`",
    note = "give the first parts as a tuple: `(first,)`, `(first, second)`"
)]
pub trait PrefixOf<T> {
    /// Writes these parts.
    fn put_prefix(&self, out: &mut Vec<u8>);
}

/// The bytes with which exactly those keys begin whose first parts are `first`: for
/// [`View::prefix`](crate::view::View::prefix).
///
/// ```
/// # mod goka { pub use goka_runtime::{codec::*, key::*}; }
/// use goka::{Codec, prefix};
///
/// type TenantAndUser = (String, u64);
///
/// let acme = prefix::<TenantAndUser, _>(&("acme".to_owned(),));
/// assert!(TenantAndUser::parse("acme,17")?.starts_with(&acme));
/// assert!(!TenantAndUser::parse("acme2,17")?.starts_with(&acme));
/// # Ok::<(), goka::CodecError>(())
/// ```
pub fn prefix<K: Composite, P: PrefixOf<K::Parts>>(first: &P) -> Vec<u8> {
    let mut bytes = Vec::new();
    first.put_prefix(&mut bytes);
    bytes
}

macro_rules! tuples {
    ($([$($item:ident $at:tt)+] $([$($first:ident $nth:tt)+])*;)*) => {$(
        ordered_codec!([$($item: OrderedKey),+] ($($item,)+));

        impl<$($item: OrderedKey),+> OrderedKey for ($($item,)+) {
            fn put_ordered(&self, out: &mut Vec<u8>) {
                $(self.$at.put_ordered(out);)+
            }

            fn take_ordered(bytes: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($($item::take_ordered(bytes)?,)+))
            }

            fn show_ordered(&self, parts: &mut Vec<String>) {
                $(self.$at.show_ordered(parts);)+
            }

            fn parse_ordered(parts: &mut dyn Iterator<Item = &str>) -> Result<Self, CodecError> {
                Ok(($($item::parse_ordered(parts)?,)+))
            }

            fn describe_ordered(to: &mut Describer) {
                $(
                    if $at > 0 {
                        to.raw(",");
                    }
                    $item::describe_ordered(to);
                )+
            }
        }

        impl<$($item: OrderedKey),+> Composite for ($($item,)+) {
            type Parts = Self;
        }

        tuples!(@prefixes [$($item)+] $([$($first $nth)+])*);
    )*};
    (@prefixes $items:tt $($first:tt)*) => {
        $(tuples!(@prefix $items $first);)*
    };
    (@prefix [$($item:ident)+] [$($first:ident $nth:tt)+]) => {
        impl<$($item: OrderedKey),+> PrefixOf<($($item,)+)> for ($($first,)+) {
            fn put_prefix(&self, out: &mut Vec<u8>) {
                $(self.$nth.put_ordered(out);)+
            }
        }
    };
}

tuples! {
    [A 0 B 1] [A 0];
    [A 0 B 1 C 2] [A 0] [A 0 B 1];
    [A 0 B 1 C 2 D 3] [A 0] [A 0 B 1] [A 0 B 1 C 2];
    [A 0 B 1 C 2 D 3 E 4] [A 0] [A 0 B 1] [A 0 B 1 C 2] [A 0 B 1 C 2 D 3];
    [A 0 B 1 C 2 D 3 E 4 F 5] [A 0] [A 0 B 1] [A 0 B 1 C 2] [A 0 B 1 C 2 D 3] [A 0 B 1 C 2 D 3 E 4];
}
