//! Serde types as JSON text.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError};

/// A type that serde writes and reads, for [`Json`]. Never implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a serde type",
    label = "needs `Serialize` and `DeserializeOwned`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to `{Self}`"
)]
pub trait Serde: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Serde for T {}

/// The codec that writes values of a serde type as JSON text.
///
/// It is for declarations (`value = Json<Alert>`); handlers take and emit the value itself. It may also be the type
/// of a handler's parameter, which chooses the codec of an input that is given by name.
///
/// ```
/// # use goka_runtime::codec as goka;
/// use goka::{Codec, Json};
///
/// let mut bytes = Vec::new();
/// Json::<Vec<u8>>::encode(&vec![1, 2], &mut bytes)?;
/// assert_eq!(bytes, b"[1,2]");
/// assert_eq!(Json::<Vec<u8>>::decode(b"[1, 2]")?, [1, 2]);
/// # Ok::<(), goka::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

wrapper!(Json);

fn refused(error: serde_json::Error) -> CodecError {
    CodecError::new("json", error)
}

impl<T: Serde> Codec for Json<T> {
    type Value = T;
    const NAME: &'static str = "json";

    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(out, value).map_err(refused)
    }

    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(bytes).map_err(refused)
    }

    /// JSON is text already: nothing is escaped.
    fn parse(text: &str) -> Result<Vec<u8>, CodecError> {
        Self::decode(text.as_bytes())?;
        Ok(text.as_bytes().to_vec())
    }

    /// JSON on one line: a tab or newline can only stand between its tokens.
    fn show(bytes: &[u8]) -> Result<String, CodecError> {
        Self::decode(bytes)?;
        let text = super::builtin::utf8(bytes)?;
        Ok(text.replace(['\t', '\n', '\r'], " "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Codec, Json};

    #[test]
    fn one_line_of_json_is_the_same_json() {
        type Words = Json<Vec<String>>;
        let text = Words::show(b"[\n\t\"a\\nb\"\r\n]").expect("it is json");
        assert_eq!(text, "[  \"a\\nb\"  ]");
        let bytes = Words::parse(&text).expect("it is json");
        assert_eq!(Words::decode(&bytes), Ok(vec!["a\nb".to_owned()]));
        assert!(Words::parse("[1]").is_err());
    }
}
