#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    const INNER: __goka::CodecOf<Vec<String>> = __goka::codec!(
        given Json < Vec < String > >, Vec < String >
    );
    impl __goka::Codec for Names {
        type Value = Self;
        const NAME: &'static str = INNER.format().codec;
        fn encode(
            value: &Self,
            out: &mut ::std::vec::Vec<u8>,
        ) -> ::core::result::Result<(), __goka::CodecError> {
            INNER.encode(&value.all, out)
        }
        fn decode(bytes: &[u8]) -> ::core::result::Result<Self, __goka::CodecError> {
            let value = INNER.decode(bytes)?;
            ::core::result::Result::Ok(Self { all: value })
        }
        fn parse(
            text: &str,
        ) -> ::core::result::Result<::std::vec::Vec<u8>, __goka::CodecError> {
            (INNER.format().parse)(text)
        }
        fn show(
            bytes: &[u8],
        ) -> ::core::result::Result<::std::string::String, __goka::CodecError> {
            (INNER.format().show)(bytes)
        }
        fn describe(to: &mut __goka::Describer) {
            INNER.format().describe_to(to);
        }
    }
};
