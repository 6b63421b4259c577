//! Protocol Buffers messages, by prost.

use prost::Message;

use super::{Codec, CodecError};

/// The codec that writes a prost message as Protocol Buffers' binary encoding; feature `protobuf`.
///
/// It is for declarations (`value = Proto<Ride>`); handlers take and emit the message itself. The fingerprint of a
/// table says only `protobuf`, so messages may change by the rules of Protocol Buffers.
///
/// ```
/// # use goka_runtime::codec as goka;
/// use goka::{Codec, Proto};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Ride {
///     #[prost(int64, tag = "1")]
///     id: i64,
/// }
///
/// let mut bytes = Vec::new();
/// Proto::<Ride>::encode(&Ride { id: 150 }, &mut bytes)?;
/// assert_eq!(bytes, [0x08, 0x96, 0x01]);
/// assert_eq!(Proto::<Ride>::decode(&bytes)?, Ride { id: 150 });
/// # Ok::<(), goka::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proto<M>(pub M);

wrapper!(Proto);

impl<M: Message + Default + 'static> Codec for Proto<M> {
    type Value = M;
    const NAME: &'static str = "protobuf";

    fn encode(value: &M, out: &mut Vec<u8>) -> Result<(), CodecError> {
        value
            .encode(out)
            .map_err(|error| CodecError::new(Self::NAME, error))
    }

    fn decode(bytes: &[u8]) -> Result<M, CodecError> {
        M::decode(bytes).map_err(|error| CodecError::new(Self::NAME, error))
    }
}

#[cfg(test)]
mod tests {
    use super::{Codec, Proto};

    #[derive(Clone, PartialEq, prost::Message)]
    struct Ride {
        #[prost(int64, tag = "1")]
        id: i64,
        #[prost(string, tag = "2")]
        driver: String,
    }

    /// The bytes of Protocol Buffers' own guide to its encoding: `150` as `96 01`, `testing`.
    #[test]
    fn messages_have_the_bytes_of_the_guide() {
        let ride = Ride {
            id: 150,
            driver: "testing".to_owned(),
        };
        let bytes = b"\x08\x96\x01\x12\x07testing";
        let mut out = Vec::new();
        Proto::<Ride>::encode(&ride, &mut out).expect("a message encodes");
        assert_eq!(out, bytes);
        assert_eq!(Proto::<Ride>::decode(bytes), Ok(ride));
        let text = Proto::<Ride>::show(bytes).expect("it decodes");
        assert_eq!(text, r"\x08\x96\x01\x12\x07testing");
        assert_eq!(Proto::<Ride>::parse(&text).as_deref(), Ok(&bytes[..]));
        assert!(Proto::<Ride>::decode(b"\x08").is_err());
    }
}
