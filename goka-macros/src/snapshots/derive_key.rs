#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    const PART_0: __goka::Part<UserId> = __goka::part::<UserId>();
    const PART_1: __goka::Part<i64> = __goka::part::<i64>();
    __goka::ordered_codec!([] UserDay);
    impl __goka::OrderedKey for UserDay {
        fn put_ordered(&self, out: &mut ::std::vec::Vec<u8>) {
            (PART_0.put)(&self.0, out);
            (PART_1.put)(&self.1, out);
        }
        fn take_ordered(
            bytes: &mut &[u8],
        ) -> ::core::result::Result<Self, __goka::CodecError> {
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
        ) -> ::core::result::Result<Self, __goka::CodecError> {
            ::core::result::Result::Ok(Self {
                0: (PART_0.parse)(parts)?,
                1: (PART_1.parse)(parts)?,
            })
        }
        fn describe_ordered(to: &mut __goka::Describer) {
            (PART_0.describe)(to);
            __goka::comma(to);
            (PART_1.describe)(to);
        }
    }
    impl __goka::Composite for UserDay {
        type Parts = (UserId, i64);
    }
};
