//! Keys whose bytes are in the order of their values: a scan of a table, which is in the order of the bytes, is then
//! in the order of the values. A key is the sequence of its parts, and each part marks its end:
//!
//! - An integer is big-endian, in as many bytes as its type has, with the sign bit inverted.
//! - Text and bytes are unchanged but for `00`, which is written `00 ff`, and end with `00 01`. So a shorter text
//!   comes before a longer one that begins with it, and the bytes of no text are a prefix of another's.
//! - A UUID is its 16 bytes.

mod composite;

pub use self::composite::{Composite, PrefixOf, prefix};
use super::{AsKey, Key};
use crate::__private::ordered_codec;
use crate::codec::{Codec, CodecError, CodecFor, CodecOf, text};
use crate::schema::Describer;
use crate::shared_error::SharedError;

/// The name of the encoding.
pub const ORDERED: &str = "ordered-key";

/// A key that also has an encoding whose bytes are in the order of its values; the parts of [`Ordered`] and tuples.
///
/// As a key by itself it has another encoding: `i64` is decimal text, but has eight bytes in a tuple and in
/// `Ordered<i64>`. `#[derive(goka::Key)]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a key",
    label = "not a part of a key",
    note = "parts are `String`, integers, `Vec<u8>`, `Uuid`, tuples of those, and types with `#[derive(goka::Key)]`"
)]
pub trait OrderedKey: Key {
    /// Writes the key to the end of `out`; other parts may follow.
    fn put_ordered(&self, out: &mut Vec<u8>);

    /// Takes a key from the beginning of `bytes`.
    ///
    /// # Errors
    /// When `bytes` do not begin with one.
    fn take_ordered(bytes: &mut &[u8]) -> Result<Self, CodecError>;

    /// Adds the text of each part, without commas.
    fn show_ordered(&self, parts: &mut Vec<String>);

    /// Undoes [`show_ordered`](OrderedKey::show_ordered).
    ///
    /// # Errors
    /// When a part is missing or of another type.
    fn parse_ordered(parts: &mut dyn Iterator<Item = &str>) -> Result<Self, CodecError>;

    /// Writes the types of the parts, with commas between them.
    fn describe_ordered(to: &mut Describer);
}

/// A key whose bytes are in the order of its values: a range of `Ordered<i64>` is a range of
/// numbers, where one of `i64`, decimal text, is not.
///
/// ```
/// # mod goka { pub use goka_runtime::{codec::*, key::*}; }
/// use goka::{Codec, Key, Ordered};
///
/// let bytes = |number| {
///     let mut bytes = Vec::new();
///     Ordered::<i64>::encode(&Ordered(number), &mut bytes).map(|()| bytes)
/// };
/// assert!(bytes(-1)? < bytes(2)?);
/// assert!(bytes(2)? < bytes(10)?);
/// assert_eq!(Ordered::<i64>::show(&bytes(-1)?)?, "-1");
/// # Ok::<(), goka::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordered<K>(pub K);

ordered_codec!([K: OrderedKey] Ordered<K>);

impl<K: OrderedKey> AsKey<Ordered<K>> for K {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode_ordered(self, out)
    }
}

impl<K: OrderedKey> OrderedKey for Ordered<K> {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        self.0.put_ordered(out);
    }

    fn take_ordered(bytes: &mut &[u8]) -> Result<Self, CodecError> {
        K::take_ordered(bytes).map(Self)
    }

    fn show_ordered(&self, parts: &mut Vec<String>) {
        self.0.show_ordered(parts);
    }

    fn parse_ordered(parts: &mut dyn Iterator<Item = &str>) -> Result<Self, CodecError> {
        K::parse_ordered(parts).map(Self)
    }

    fn describe_ordered(to: &mut Describer) {
        K::describe_ordered(to);
    }
}

/// [`Codec::encode`] of keys that are made of parts.
///
/// # Errors
/// Never.
pub fn encode_ordered<K: OrderedKey>(key: &K, out: &mut Vec<u8>) -> Result<(), CodecError> {
    key.put_ordered(out);
    Ok(())
}

/// [`Codec::decode`] of keys that are made of parts.
///
/// # Errors
/// When the bytes are not those of such a key.
pub fn decode_ordered<K: OrderedKey>(mut bytes: &[u8]) -> Result<K, CodecError> {
    let whole = bytes;
    let key = K::take_ordered(&mut bytes)?;
    match bytes.len() {
        0 => Ok(key),
        more => Err(refused(format!(
            "{more} bytes too many in {}",
            text::excerpt(whole)
        ))),
    }
}

/// [`Codec::parse`] of keys that are made of parts.
///
/// # Errors
/// When the text is not that of such a key.
pub fn parse_ordered<K: OrderedKey>(typed: &str) -> Result<Vec<u8>, CodecError> {
    let mut parts = typed.split(',');
    let key = K::parse_ordered(&mut parts)?;
    if parts.next().is_some() {
        return Err(refused(format!(
            "`{typed}` has too many parts; a comma in text is `\\x2c`"
        )));
    }
    let mut bytes = Vec::new();
    key.put_ordered(&mut bytes);
    Ok(bytes)
}

/// [`Codec::show`] of keys that are made of parts.
///
/// # Errors
/// When the bytes are not those of such a key.
pub fn show_ordered<K: OrderedKey>(bytes: &[u8]) -> Result<String, CodecError> {
    let mut parts = Vec::new();
    decode_ordered::<K>(bytes)?.show_ordered(&mut parts);
    Ok(parts.join(","))
}

/// [`Codec::describe`] of keys that are made of parts.
pub fn describe_ordered<K: OrderedKey>(to: &mut Describer) {
    to.word(ORDERED);
    to.raw("(");
    K::describe_ordered(to);
    to.raw(")");
}

fn refused(reason: impl Into<SharedError>) -> CodecError {
    CodecError::new(ORDERED, reason)
}

fn part<'p>(parts: &mut dyn Iterator<Item = &'p str>) -> Result<&'p str, CodecError> {
    parts
        .next()
        .ok_or_else(|| refused("too few parts; they have commas between them"))
}

macro_rules! integers {
    ($($type:ident $name:literal $flip:expr;)*) => {$(
        impl OrderedKey for $type {
            fn put_ordered(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self ^ $flip).to_be_bytes());
            }

            fn take_ordered(bytes: &mut &[u8]) -> Result<Self, CodecError> {
                let Some((taken, rest)) = bytes.split_first_chunk() else {
                    let found = text::excerpt(bytes);
                    return Err(refused(format!("{found} ends within an {}", $name)));
                };
                *bytes = rest;
                Ok(Self::from_be_bytes(*taken) ^ $flip)
            }

            fn show_ordered(&self, parts: &mut Vec<String>) {
                parts.push(self.to_string());
            }

            fn parse_ordered(parts: &mut dyn Iterator<Item = &str>) -> Result<Self, CodecError> {
                Self::decode(part(parts)?.as_bytes())
            }

            fn describe_ordered(to: &mut Describer) {
                to.word($name);
            }
        }
    )*};
}

integers! {
    i8 "int8" Self::MIN;
    i16 "int16" Self::MIN;
    i32 "int32" Self::MIN;
    i64 "int64" Self::MIN;
    i128 "int128" Self::MIN;
    u8 "uint8" 0;
    u16 "uint16" 0;
    u32 "uint32" 0;
    u64 "uint64" 0;
    u128 "uint128" 0;
}

/// The byte after a zero byte: at the end of a part, and within it.
const END: u8 = 1;
const ZERO: u8 = 0xff;

fn put_bytes(key: &[u8], out: &mut Vec<u8>) {
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(ZERO);
        }
    }
    out.extend_from_slice(&[0, END]);
}

fn take_bytes(bytes: &mut &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut key = Vec::new();
    let mut rest = *bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        key.extend_from_slice(&rest[..at]);
        let after = rest.get(at + 1);
        rest = rest.get(at + 2..).unwrap_or_default();
        match after {
            Some(&END) => {
                *bytes = rest;
                return Ok(key);
            }
            Some(&ZERO) => key.push(0),
            _ => break,
        }
    }
    let found = text::excerpt(bytes);
    Err(refused(format!("text in {found} has no end")))
}

fn show_bytes(key: &[u8], parts: &mut Vec<String>) {
    parts.push(text::escape(key).replace(',', "\\x2c"));
}

impl OrderedKey for Vec<u8> {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        put_bytes(self, out);
    }

    fn take_ordered(bytes: &mut &[u8]) -> Result<Self, CodecError> {
        take_bytes(bytes)
    }

    fn show_ordered(&self, parts: &mut Vec<String>) {
        show_bytes(self, parts);
    }

    fn parse_ordered(parts: &mut dyn Iterator<Item = &str>) -> Result<Self, CodecError> {
        text::unescape(part(parts)?).map_err(refused)
    }

    fn describe_ordered(to: &mut Describer) {
        to.word(Self::NAME);
    }
}

impl OrderedKey for String {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }

    fn take_ordered(bytes: &mut &[u8]) -> Result<Self, CodecError> {
        <Self as Codec>::decode(&take_bytes(bytes)?)
    }

    fn show_ordered(&self, parts: &mut Vec<String>) {
        show_bytes(self.as_bytes(), parts);
    }

    fn parse_ordered(parts: &mut dyn Iterator<Item = &str>) -> Result<Self, CodecError> {
        <Self as Codec>::decode(&text::unescape(part(parts)?).map_err(refused)?)
    }

    fn describe_ordered(to: &mut Describer) {
        to.word(Self::NAME);
    }
}

impl OrderedKey for uuid::Uuid {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn take_ordered(bytes: &mut &[u8]) -> Result<Self, CodecError> {
        let Some((taken, rest)) = bytes.split_first_chunk() else {
            return Err(refused(format!(
                "{} ends within a uuid",
                text::excerpt(bytes)
            )));
        };
        *bytes = rest;
        Ok(Self::from_bytes(*taken))
    }

    fn show_ordered(&self, parts: &mut Vec<String>) {
        parts.push(self.to_string());
    }

    fn parse_ordered(parts: &mut dyn Iterator<Item = &str>) -> Result<Self, CodecError> {
        Self::decode(part(parts)?.as_bytes())
    }

    fn describe_ordered(to: &mut Describer) {
        to.word(Self::NAME);
    }
}

/// The functions of a part, for the code of a derived key. It is made in a constant, the only place that requires
/// the field's type to be a part of a key, so that a wrong type is one compile error.
#[derive(Debug)]
pub struct Part<T> {
    /// The codec of a key of this part alone.
    pub codec: CodecOf<T>,
    /// [`OrderedKey::put_ordered`].
    pub put: fn(&T, &mut Vec<u8>),
    /// [`OrderedKey::take_ordered`].
    pub take: fn(&mut &[u8]) -> Result<T, CodecError>,
    /// [`OrderedKey::show_ordered`].
    pub show: fn(&T, &mut Vec<String>),
    /// [`OrderedKey::parse_ordered`].
    pub parse: fn(&mut dyn Iterator<Item = &str>) -> Result<T, CodecError>,
    /// [`OrderedKey::describe_ordered`].
    pub describe: fn(&mut Describer),
}

/// The functions of the part `T`.
pub const fn part_of<T: OrderedKey>() -> Part<T> {
    Part {
        codec: <T as CodecFor<T>>::CODEC,
        put: T::put_ordered,
        take: T::take_ordered,
        show: T::show_ordered,
        parse: T::parse_ordered,
        describe: T::describe_ordered,
    }
}

#[cfg(test)]
mod tests {
    use super::{Codec, Ordered, prefix};
    use crate::codec::CodecOf;
    use proptest::prelude::*;
    use uuid::Uuid;

    type Four = (String, i64, Vec<u8>, u16);

    fn bytes<C: Codec<Value = C>>(key: &C) -> Vec<u8> {
        let mut bytes = Vec::new();
        C::encode(key, &mut bytes).expect("every key has bytes");
        bytes
    }

    #[test]
    fn bytes_are_as_documented() {
        let key = ("a\0".to_owned(), -2_i16, 3_u8);
        let expected = [b'a', 0, 0xff, 0, 1, 0x7f, 0xfe, 3];
        assert_eq!(bytes(&key), expected);
        assert_eq!(bytes(&Ordered(i32::MIN)), [0; 4]);
        assert_eq!(bytes(&Ordered(Uuid::from_u128(1)))[15], 1);
        assert_eq!(
            CodecOf::new::<((String, u8), Uuid)>().format().text(),
            "ordered-key(utf8,uint8,uuid)"
        );
    }

    #[test]
    fn bytes_and_texts_of_no_key_are_refused() {
        for wrong in [
            &b""[..],
            b"a",
            b"a\0",
            b"a\0\x02\0\0",
            b"\xff\0\x01\0\0",
            b"a\0\x01\0",
            b"a\0\x01\0\0\0",
        ] {
            assert!(<(String, i16)>::decode(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "a", "a,b", "a,1,", "\\q,1", "\\xff,1"] {
            assert!(<(String, i16)>::parse(wrong).is_err(), "{wrong}");
        }
        let error = <(String, i16)>::parse("a,1,2").expect_err("three parts");
        assert_eq!(
            error.to_string(),
            r"not ordered-key: `a,1,2` has too many parts; a comma in text is `\x2c`"
        );
    }

    /// Few letters, so that keys often begin alike; the bytes of the escapes among them.
    fn text() -> impl Strategy<Value = String> {
        "[\\x00\\x01a,\u{ff}\\\\]{0,4}"
    }

    fn four() -> impl Strategy<Value = Four> {
        let raw = proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff)], 0..4);
        let number = prop_oneof![-2_i64..3, any::<i64>()];
        (text(), number, raw, any::<u16>())
    }

    proptest! {
        #[test]
        fn the_order_of_bytes_is_that_of_values(a in four(), b in four()) {
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
            let (a, b) = (Ordered(a.1), Ordered(b.1));
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
        }

        #[test]
        fn keys_come_back(key in four()) {
            let bytes = bytes(&key);
            prop_assert_eq!(Four::decode(&bytes), Ok(key));
            let text = Four::show(&bytes)?;
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(Four::parse(&text), Ok(bytes));
        }

        #[test]
        fn prefixes_are_those_of_the_first_parts(a in four(), b in four()) {
            let one = prefix::<Four, _>(&(a.0.clone(),));
            prop_assert_eq!(bytes(&b).starts_with(&one), a.0 == b.0);
            let two = prefix::<Four, _>(&(a.0.clone(), a.1));
            prop_assert_eq!(bytes(&b).starts_with(&two), (&a.0, a.1) == (&b.0, b.1));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            if let Ok(key) = Four::decode(&bytes) {
                prop_assert_eq!(self::bytes(&key), bytes);
            }
        }
    }
}
