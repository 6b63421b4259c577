//! A codec as data and functions over text and bytes, for code that does not know its type.

use super::CodecError;
use crate::schema::Describer;

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
