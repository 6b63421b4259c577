pub struct Profiles;
const _: () = {
    impl ::goka::__private::Topic for Profiles {
        type Key = u64;
        type Value = String;
        type Partitioner = ::goka::__private::Murmur2;
        const NAME: &'static str = "profiles";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec!(
            of String
        );
        const PARTITIONS: ::core::option::Option<i32> = ::core::option::Option::None;
        const KIND: ::goka::__private::TopicKind = ::goka::__private::TopicKind::Table;
    }
    impl ::goka::__private::Table for Profiles {}
};
