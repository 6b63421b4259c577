//! Codecs: [`Codec`], which converts between values and the bytes of records, and the codecs of the library. A
//! declaration names a codec (`value = Json<Alert>`), and a handler takes its values (`Alert`). Knows no topics.

/// A wrapper is read as its content is, and may be given where its content travels.
macro_rules! wrapper {
    ($type:ident) => {
        impl<T> ::std::ops::Deref for $type<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T> ::std::ops::DerefMut for $type<T> {
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0
            }
        }

        impl<T> $crate::codec::AsValue<T> for $type<T> {
            fn put(
                &self,
                codec: &$crate::codec::CodecOf<T>,
                out: &mut Vec<u8>,
            ) -> Result<(), $crate::codec::CodecError> {
                codec.encode(&self.0, out)
            }
        }
    };
}

#[cfg(feature = "avro")]
pub mod avro;
mod be;
mod builtin;
mod json;
#[cfg(feature = "protobuf")]
mod proto;
pub(crate) mod text;

use std::fmt;
use std::marker::PhantomData;

pub use crate::dispatch::CodecError;
use crate::schema::{Describer, Schema};
pub use be::Be;
pub(crate) use builtin::utf8;
pub use json::{Json, Serde};
#[cfg(feature = "protobuf")]
pub use proto::Proto;

/// Converts between values of one type and the bytes of records.
///
/// Most types are their own codec; a codec for values of another type names it in
/// [`Value`](Codec::Value), as [`Json`] does. Implement it for a type of your own:
///
/// ```
/// # use goka_runtime::codec as goka;
/// use goka::{Codec, CodecError};
///
/// /// Cents.
/// #[derive(Debug, PartialEq)]
/// struct Money(u32);
///
/// impl Codec for Money {
///     type Value = Self;
///     const NAME: &'static str = "cents-be";
///
///     fn encode(value: &Self, out: &mut Vec<u8>) -> Result<(), CodecError> {
///         out.extend_from_slice(&value.0.to_be_bytes());
///         Ok(())
///     }
///
///     fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
///         let bytes = bytes.try_into().map_err(|_| CodecError {
///             codec: Self::NAME,
///             reason: format!("{} bytes, expected 4", bytes.len()).into(),
///         })?;
///         Ok(Self(u32::from_be_bytes(bytes)))
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Money::encode(&Money(250), &mut bytes)?;
/// assert_eq!(Money::decode(&bytes)?, Money(250));
/// # Ok::<(), CodecError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in a record: it has no codec",
    label = "no codec",
    note = "use `Json<{Self}>`, or implement `goka::Codec` for it"
)]
pub trait Codec: Sized + 'static {
    /// The type of the values, which handlers take and emit.
    type Value: 'static;

    /// The codec's name in the fingerprint of a table, by which a program recognizes data of another format. A
    /// codec that writes other bytes than before needs another name.
    const NAME: &'static str;

    /// Writes a value to the end of `out`.
    ///
    /// # Errors
    /// When the value cannot be written. The caller drops bytes that were written already.
    fn encode(value: &Self::Value, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads a value from all of `bytes`.
    ///
    /// # Errors
    /// When the bytes are not what the codec writes.
    fn decode(bytes: &[u8]) -> Result<Self::Value, CodecError>;

    /// Makes bytes from text, for the commands: undoes the escapes of [`show`](Codec::show).
    ///
    /// # Errors
    /// When the text has an unknown escape, or stands for bytes that do not decode.
    fn parse(text: &str) -> Result<Vec<u8>, CodecError> {
        let bytes = text::unescape(text).map_err(|reason| CodecError::new(Self::NAME, reason))?;
        Self::decode(&bytes)?;
        Ok(bytes)
    }

    /// Makes one line of text from bytes, for the commands: tab, newline and other control characters, backslash
    /// and bytes that are not UTF-8 are escaped.
    ///
    /// # Errors
    /// When the bytes do not decode.
    fn show(bytes: &[u8]) -> Result<String, CodecError> {
        Self::decode(bytes)?;
        Ok(text::escape(bytes))
    }

    /// Writes the codec into the fingerprint of a table: its name, and whatever else its bytes depend on.
    fn describe(to: &mut Describer) {
        to.word(Self::NAME);
    }
}

/// A codec for values of type `V`. Never implemented by hand: every [`Codec`] is one for its own values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in a record: it has no codec",
    label = "no codec",
    note = "use `Json<{Self}>`, or implement `goka::Codec` for it"
)]
pub trait CodecFor<V> {
    /// The codec as a value.
    const CODEC: CodecOf<V>;
}

impl<C: Codec> CodecFor<C::Value> for C {
    const CODEC: CodecOf<C::Value> = CodecOf {
        format: format_of::<C>(),
        encode: C::encode,
        decode: C::decode,
    };
}

/// A codec that may be given as `codec = ..` for values of type `V`. Never implemented by hand: every [`Codec`]
/// fits its own values. A trait of its own for the sake of its compile error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec for values of type `{V}`",
    label = "not a codec for `{V}`",
    note = "`codec = ..` names a type that implements `goka::Codec` with `type Value = {V}`"
)]
pub trait Fits<V> {
    /// The codec as a value.
    const CODEC: CodecOf<V>;
}

impl<C: Codec> Fits<C::Value> for C {
    const CODEC: CodecOf<C::Value> = <C as CodecFor<C::Value>>::CODEC;
}

/// Finds out whether the schema of a codec's values is known: it is for `Json<T>` with `T: Schema`. Autoref
/// specialization: the call `(&Shape::<C>::ASK).describe(to)` in generated code takes the method of [`Known`] if
/// that is implemented, and else that of [`Opaque`]. Both traits must be in scope there.
#[derive(Debug)]
pub struct Shape<C: ?Sized>(PhantomData<fn() -> C>);

impl<C: ?Sized> Shape<C> {
    /// The value to call `describe` on.
    pub const ASK: Self = Self(PhantomData);
}

/// The schema of the values is known.
pub trait Known {
    /// Writes the schema, and returns true.
    fn describe(&self, to: &mut Describer) -> bool;
}

impl<T: Schema> Known for Shape<Json<T>> {
    fn describe(&self, to: &mut Describer) -> bool {
        to.word("json");
        to.raw(":");
        to.of::<T>();
        true
    }
}

/// The schema of the values is not known.
pub trait Opaque {
    /// Writes nothing, and returns false.
    fn describe(&self, to: &mut Describer) -> bool;
}

impl<C: ?Sized> Opaque for &Shape<C> {
    fn describe(&self, _: &mut Describer) -> bool {
        false
    }
}

/// A [`Codec`] for values of type `V`, as a value. A topic has one; user code need not use it.
///
/// ```
/// # use goka_runtime::codec as goka;
/// use goka::CodecOf;
///
/// let codec: CodecOf<i64> = CodecOf::new::<i64>();
/// assert_eq!(codec.decode(b"42"), Ok(42));
/// ```
pub struct CodecOf<V> {
    format: Format,
    encode: fn(&V, &mut Vec<u8>) -> Result<(), CodecError>,
    decode: fn(&[u8]) -> Result<V, CodecError>,
}

impl<V> CodecOf<V> {
    /// The codec `C` as a value.
    pub const fn new<C: CodecFor<V>>() -> Self {
        C::CODEC
    }

    /// The same codec with the schema of its values, which only generated code can find out: see [`Shape`].
    pub(crate) const fn with_schema(mut self, schema: fn(&mut Describer) -> bool) -> Self {
        self.format.schema = Some(schema);
        self
    }

    /// The codec without the type of its values, for the commands and for fingerprints.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Writes a value to the end of `out`.
    ///
    /// # Errors
    /// See [`Codec::encode`].
    pub fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        (self.encode)(value, out)
    }

    /// Reads a value from all of `bytes`.
    ///
    /// # Errors
    /// See [`Codec::decode`].
    pub fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        (self.decode)(bytes)
    }
}

impl<V> Clone for CodecOf<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for CodecOf<V> {}

impl<V> fmt::Debug for CodecOf<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CodecOf").field(&self.format.codec).finish()
    }
}

/// How keys or values of one topic travel, for those who have only text or bytes: the commands.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// The codec's name, as the fingerprint has it.
    pub codec: &'static str,
    /// Text to bytes, checked by the codec.
    pub parse: fn(&str) -> Result<Vec<u8>, CodecError>,
    /// Bytes to text (one line; tab, newline and non-UTF-8 escaped), checked by the codec.
    pub show: fn(&[u8]) -> Result<String, CodecError>,
    /// What the codec says of itself in the fingerprint.
    pub describe: fn(&mut Describer),
    /// The shape of the values, when there is one: says whether it wrote any.
    pub schema: Option<fn(&mut Describer) -> bool>,
    /// Writes a key again as this program writes it; `None` for keys that have one form only, and for
    /// values.
    pub canonical: Option<Canonical>,
}

/// Decodes a key and encodes it again, to the end of a buffer.
pub type Canonical = fn(&[u8], &mut Vec<u8>) -> Result<(), CodecError>;

impl Format {
    /// The codec and the shape of its values, as the fingerprint has them.
    ///
    /// ```
    /// use goka_runtime::codec::{Be, CodecOf};
    ///
    /// assert_eq!(CodecOf::new::<Be<i64>>().format().text(), "be-int64");
    /// ```
    pub fn text(&self) -> String {
        let mut describer = Describer::default();
        self.describe_to(&mut describer);
        describer.finish()
    }

    /// Writes [`text`](Format::text).
    pub fn describe_to(&self, to: &mut Describer) {
        if !self.schema.is_some_and(|schema| schema(to)) {
            (self.describe)(to);
        }
    }
}

/// A codec without the type of its values. `schema` and `canonical` are added where they are known.
pub(crate) const fn format_of<C: Codec>() -> Format {
    Format {
        codec: C::NAME,
        parse: C::parse,
        show: C::show,
        describe: C::describe,
        schema: None,
        canonical: None,
    }
}

/// A type that may be passed, by reference, as a value of type `V`: `V`, `str` for `String`, `[u8]` for `Vec<u8>`,
/// `Json<V>` for `V`.
///
/// ```
/// # use goka_runtime::codec as goka;
/// use goka::{AsValue, CodecOf};
///
/// let mut out = Vec::new();
/// AsValue::<String>::put("hello", &CodecOf::new::<String>(), &mut out)?;
/// assert_eq!(out, b"hello");
/// # Ok::<(), goka::CodecError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be given where `{V}` travels",
    label = "expected `{V}`, found `{Self}`"
)]
pub trait AsValue<V> {
    /// Writes the value to the end of `out`.
    ///
    /// # Errors
    /// When the value does not encode.
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<(), CodecError>;
}

impl<V> AsValue<V> for V {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec.encode(self, out)
    }
}

impl AsValue<String> for str {
    fn put(&self, codec: &CodecOf<String>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        // The codec of `String` writes these bytes; another codec for `String` values gets a `String`.
        if codec.format.codec == <String as Codec>::NAME {
            out.extend_from_slice(self.as_bytes());
            return Ok(());
        }
        codec.encode(&self.to_owned(), out)
    }
}

impl AsValue<Vec<u8>> for [u8] {
    fn put(&self, codec: &CodecOf<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if codec.format.codec == <Vec<u8> as Codec>::NAME {
            out.extend_from_slice(self);
            return Ok(());
        }
        codec.encode(&self.to_vec(), out)
    }
}

impl<const N: usize> AsValue<Vec<u8>> for [u8; N] {
    fn put(&self, codec: &CodecOf<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.as_slice().put(codec, out)
    }
}
