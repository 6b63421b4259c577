pub struct Alerts;
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Topic for Alerts {
        type Key = ::std::string::String;
        type Value = Alert;
        type Partitioner = __goka::Murmur2;
        const NAME: &'static str = "alerts";
        const CODEC: __goka::CodecOf<Self::Value> = __goka::codec!(of Json < Alert >);
        const PARTITIONS: ::core::option::Option<i32> = __goka::partitions(8);
    }
};
