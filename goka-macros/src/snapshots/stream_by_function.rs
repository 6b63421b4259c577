pub struct Prices;
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    const PLACE: fn(&[u8], i32) -> i32 = place::by_tenant;
    #[doc(hidden)]
    #[allow(unreachable_pub)]
    #[derive(Debug)]
    pub struct __GokaPartitioner;
    impl __goka::Partitioner for __GokaPartitioner {
        const NAME: &'static str = "by_tenant()";
        fn partition(key: &[u8], count: i32) -> i32 {
            __goka::placed(PLACE(key, count), count, Self::NAME)
        }
    }
    impl __goka::Topic for Prices {
        type Key = ::std::string::String;
        type Value = Cents;
        type Partitioner = __GokaPartitioner;
        const NAME: &'static str = "prices";
        const CODEC: __goka::CodecOf<Self::Value> = __goka::codec!(
            given crate ::CentsOnTheWire, Cents
        );
        const PARTITIONS: ::core::option::Option<i32> = ::core::option::Option::None;
    }
};
