const _: () = {
    const INNER: ::goka::__private::CodecOf<Vec<String>> = ::goka::__private::codec!(
        given Json < Vec < String > >, Vec < String >
    );
    impl ::goka::__private::Codec for Names {
        type Value = Self;
        const NAME: &'static str = INNER.format().codec;
        fn encode(
            value: &Self,
            out: &mut ::std::vec::Vec<u8>,
        ) -> ::core::result::Result<(), ::goka::__private::CodecError> {
            INNER.encode(&value.all, out)
        }
        fn decode(
            bytes: &[u8],
        ) -> ::core::result::Result<Self, ::goka::__private::CodecError> {
            let value = INNER.decode(bytes)?;
            ::core::result::Result::Ok(Self { all: value })
        }
        fn parse(
            text: &str,
        ) -> ::core::result::Result<::std::vec::Vec<u8>, ::goka::__private::CodecError> {
            (INNER.format().parse)(text)
        }
        fn show(
            bytes: &[u8],
        ) -> ::core::result::Result<
            ::std::string::String,
            ::goka::__private::CodecError,
        > {
            (INNER.format().show)(bytes)
        }
        fn describe(to: &mut ::goka::__private::Describer) {
            INNER.format().describe_to(to);
        }
    }
};
