pub struct Profiles;
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Topic for Profiles {
        type Key = u64;
        type Value = String;
        type Partitioner = __goka::Murmur2;
        const NAME: &'static str = "profiles";
        const CODEC: __goka::CodecOf<Self::Value> = __goka::codec!(of String);
        const PARTITIONS: ::core::option::Option<i32> = ::core::option::Option::None;
        const KIND: __goka::TopicKind = __goka::TopicKind::Table;
    }
    impl __goka::Table for Profiles {}
};
