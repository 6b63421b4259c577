/// Counts clicks.
pub fn click_count(ctx: &mut Context<'_, ClickCount>, click: &str) -> Result<()> {
    Ok(())
}
/// Counts clicks.
///
/// The processor of group `click-count`, and the handle of its table.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClickCount;
#[allow(deprecated)]
const _: () = {
    fn __goka_input_0<'r>(
        _: &'r ::goka::__private::Shared,
        raw: ::goka::__private::Raw<'r>,
    ) -> ::core::result::Result<(), ::goka::__private::HandlerError> {
        let mut context = ::goka::__private::context::<ClickCount>(raw)?;
        let value = ::goka::__private::taker::<
            &str,
            <UserClicks as ::goka::__private::Topic>::Value,
        >(<UserClicks as ::goka::__private::Topic>::CODEC)
            .take(context.record())?;
        ::goka::__private::Returns::finish(click_count(&mut context, value))
    }
    fn __goka_input_1<'r>(
        _: &'r ::goka::__private::Shared,
        raw: ::goka::__private::Raw<'r>,
    ) -> ::core::result::Result<(), ::goka::__private::HandlerError> {
        let mut context = ::goka::__private::context::<ClickCount>(raw)?;
        let value = ::goka::__private::taker::<
            &str,
            ::std::string::String,
        >(::goka::__private::codec_of::<::std::string::String, ::std::string::String>())
            .take(context.record())?;
        ::goka::__private::Returns::finish(click_count(&mut context, value))
    }
    impl ::goka::__private::Processor for ClickCount {
        type Key = <UserClicks as ::goka::__private::Topic>::Key;
        type Partitioner = <UserClicks as ::goka::__private::Topic>::Partitioner;
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::Definition {
            graph: ::goka::__private::GroupGraph {
                name: "ClickCount",
                group: "click-count",
                location: ::goka::__private::Location {
                    file: ::core::file!(),
                    line: ::core::line!(),
                    column: ::core::column!(),
                },
                edges: __GOKA_EDGES,
            },
            make: ::core::option::Option::Some(::goka::__private::make::<ClickCount>),
            type_id: ::goka::__private::type_id::<ClickCount>,
        };
    }
    const _: () = ::goka::__private::keyed(
        <UserClicks as ::goka::__private::Topic>::SPEC,
    );
    impl ::goka::__private::Topic for ClickCount {
        type Key = <UserClicks as ::goka::__private::Topic>::Key;
        type Value = i64;
        type Partitioner = <UserClicks as ::goka::__private::Topic>::Partitioner;
        const NAME: &'static str = "click-count-state";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec_with::<
            i64,
            i64,
        >(::goka::__private::schema!(i64));
        const PARTITIONS: ::core::option::Option<i32> = <UserClicks as ::goka::__private::Topic>::PARTITIONS;
    }
    impl ::goka::__private::Table for ClickCount {}
    impl ::goka::__private::Persists<i64> for ClickCount {
        const TABLE: &'static str = <Self as ::goka::__private::Topic>::NAME;
        const CODEC: ::goka::__private::CodecOf<i64> = <Self as ::goka::__private::Topic>::CODEC;
    }
    impl ::goka::__private::Emits<Alerts> for ClickCount {}
    const __GOKA_EDGES: &[::goka::__private::Edge] = &[
        {
            let taker = ::goka::__private::taker::<
                &str,
                <UserClicks as ::goka::__private::Topic>::Value,
            >(<UserClicks as ::goka::__private::Topic>::CODEC);
            ::goka::__private::Edge {
                kind: ::goka::__private::EdgeKind::Input {
                    call: ::goka::__private::Call::Sync(__goka_input_0),
                    tombstones: taker.tombstones,
                    start: ::goka::__private::Start::Earliest,
                },
                topic: <UserClicks as ::goka::__private::Topic>::SPEC,
                location: ::goka::__private::Location {
                    file: ::core::file!(),
                    line: ::core::line!(),
                    column: ::core::column!(),
                },
            }
        },
        {
            let taker = ::goka::__private::taker::<
                &str,
                ::std::string::String,
            >(
                ::goka::__private::codec_of::<
                    ::std::string::String,
                    ::std::string::String,
                >(),
            );
            ::goka::__private::Edge {
                kind: ::goka::__private::EdgeKind::Input {
                    call: ::goka::__private::Call::Sync(__goka_input_1),
                    tombstones: taker.tombstones,
                    start: ::goka::__private::Start::Earliest,
                },
                topic: ::goka::__private::spec_named::<
                    ClickCount,
                >("more-clicks", taker.format),
                location: ::goka::__private::Location {
                    file: ::core::file!(),
                    line: ::core::line!(),
                    column: ::core::column!(),
                },
            }
        },
        ::goka::__private::Edge {
            kind: ::goka::__private::EdgeKind::Output,
            topic: <Alerts as ::goka::__private::Topic>::SPEC,
            location: ::goka::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                column: ::core::column!(),
            },
        },
        ::goka::__private::Edge {
            kind: ::goka::__private::EdgeKind::Table,
            topic: <ClickCount as ::goka::__private::Topic>::SPEC,
            location: ::goka::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                column: ::core::column!(),
            },
        },
    ];
    const _: () = ::goka::__private::distinct(
        <UserClicks as ::goka::__private::Topic>::NAME,
        "more-clicks",
    );
    const _: () = ::goka::__private::foreign(
        <UserClicks as ::goka::__private::Topic>::NAME,
        "click-count-state",
        "click-count-loop",
    );
    const _: () = ::goka::__private::foreign(
        <Alerts as ::goka::__private::Topic>::NAME,
        "click-count-state",
        "click-count-loop",
    );
    ::goka::__private::inventory::submit! {
        ::goka::__private::Entry(< ClickCount as ::goka::__private::Processor >
        ::DEFINITION)
    }
};
