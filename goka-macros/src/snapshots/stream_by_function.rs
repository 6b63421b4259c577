pub struct Prices;
const _: () = {
    const PLACE: fn(&[u8], i32) -> i32 = place::by_tenant;
    #[doc(hidden)]
    #[allow(unreachable_pub)]
    #[derive(Debug)]
    pub struct __GokaPartitioner;
    impl ::goka::__private::Partitioner for __GokaPartitioner {
        const NAME: &'static str = "by_tenant()";
        fn partition(key: &[u8], count: i32) -> i32 {
            ::goka::__private::placed(PLACE(key, count), count, Self::NAME)
        }
    }
    impl ::goka::__private::Topic for Prices {
        type Key = ::std::string::String;
        type Value = Cents;
        type Partitioner = __GokaPartitioner;
        const NAME: &'static str = "prices";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec!(
            given crate ::CentsOnTheWire, Cents
        );
        const PARTITIONS: ::core::option::Option<i32> = ::core::option::Option::None;
    }
};
