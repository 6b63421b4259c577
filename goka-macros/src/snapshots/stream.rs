pub struct Alerts;
const _: () = {
    impl ::goka::__private::Topic for Alerts {
        type Key = ::std::string::String;
        type Value = Alert;
        type Partitioner = ::goka::__private::Murmur2;
        const NAME: &'static str = "alerts";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec!(
            of Json < Alert >
        );
        const PARTITIONS: ::core::option::Option<i32> = ::goka::__private::partitions(8);
    }
};
