const _: () = {
    const PART_0: ::goka::__private::Part<UserId> = ::goka::__private::part::<UserId>();
    const PART_1: ::goka::__private::Part<i64> = ::goka::__private::part::<i64>();
    impl ::goka::__private::Codec for UserDay {
        type Value = Self;
        const NAME: &'static str = ::goka::__private::ORDERED;
        fn encode(
            value: &Self,
            out: &mut ::std::vec::Vec<u8>,
        ) -> ::core::result::Result<(), ::goka::__private::CodecError> {
            ::goka::__private::encode_ordered(value, out)
        }
        fn decode(
            bytes: &[u8],
        ) -> ::core::result::Result<Self, ::goka::__private::CodecError> {
            ::goka::__private::decode_ordered(bytes)
        }
        fn parse(
            text: &str,
        ) -> ::core::result::Result<::std::vec::Vec<u8>, ::goka::__private::CodecError> {
            ::goka::__private::parse_ordered::<Self>(text)
        }
        fn show(
            bytes: &[u8],
        ) -> ::core::result::Result<
            ::std::string::String,
            ::goka::__private::CodecError,
        > {
            ::goka::__private::show_ordered::<Self>(bytes)
        }
        fn describe(to: &mut ::goka::__private::Describer) {
            ::goka::__private::describe_ordered::<Self>(to);
        }
    }
    impl ::goka::__private::Key for UserDay {
        type Ref<'r> = Self;
        fn view(
            bytes: &[u8],
        ) -> ::core::result::Result<Self, ::goka::__private::CodecError> {
            <Self as ::goka::__private::Codec>::decode(bytes)
        }
    }
    impl ::goka::__private::OrderedKey for UserDay {
        fn put_ordered(&self, out: &mut ::std::vec::Vec<u8>) {
            (PART_0.put)(&self.0, out);
            (PART_1.put)(&self.1, out);
        }
        fn take_ordered(
            bytes: &mut &[u8],
        ) -> ::core::result::Result<Self, ::goka::__private::CodecError> {
            ::core::result::Result::Ok(Self {
                0: (PART_0.take)(bytes)?,
                1: (PART_1.take)(bytes)?,
            })
        }
        fn show_ordered(&self, parts: &mut ::std::vec::Vec<::std::string::String>) {
            (PART_0.show)(&self.0, parts);
            (PART_1.show)(&self.1, parts);
        }
        fn parse_ordered(
            parts: &mut dyn ::core::iter::Iterator<Item = &str>,
        ) -> ::core::result::Result<Self, ::goka::__private::CodecError> {
            ::core::result::Result::Ok(Self {
                0: (PART_0.parse)(parts)?,
                1: (PART_1.parse)(parts)?,
            })
        }
        fn describe_ordered(to: &mut ::goka::__private::Describer) {
            (PART_0.describe)(to);
            ::goka::__private::comma(to);
            (PART_1.describe)(to);
        }
    }
    impl ::goka::__private::Composite for UserDay {
        type Parts = (UserId, i64);
    }
};
