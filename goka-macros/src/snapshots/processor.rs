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
    #[allow(unused_imports)]
    use ::goka::__private::ProbeFallback as _;
    impl ::goka::__private::Processor for ClickCount {
        type Key = <UserClicks as ::goka::__private::Topic>::Key;
        type Partitioner = <UserClicks as ::goka::__private::Topic>::Partitioner;
        const OWN: [&'static str; 3] = ::goka::__private::own!("click-count", "-state");
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::Definition {
            graph: ::goka::__private::GroupGraph {
                name: "ClickCount",
                group: "click-count",
                location: ::goka::__private::here!(),
                guarantee: ::goka::__private::Guarantee::AtLeastOnce,
                edges: &[
                    ::goka::__private::HandlerInput::input(
                        ::goka::__private::handler_input::<
                            Self,
                            &str,
                            <UserClicks as ::goka::__private::Topic>::Value,
                        >(<UserClicks as ::goka::__private::Topic>::CODEC)
                            .reading(<UserClicks as ::goka::__private::Topic>::KIND),
                        ::goka::__private::Call::Sync(|_, raw| {
                            let (mut context, value) = ::goka::__private::handler_input::<
                                Self,
                                &str,
                                <UserClicks as ::goka::__private::Topic>::Value,
                            >(<UserClicks as ::goka::__private::Topic>::CODEC)
                                .enter(raw)?;
                            ::goka::__private::Returns::finish(
                                click_count(&mut context, value),
                            )
                        }),
                        ::goka::__private::Start::Earliest,
                        <UserClicks as ::goka::__private::Topic>::SPEC,
                        ::goka::__private::here!(),
                    ),
                    ::goka::__private::handler_input::<
                        Self,
                        &str,
                        ::std::string::String,
                    >(
                            ::goka::__private::codec_of::<
                                ::std::string::String,
                                ::std::string::String,
                            >(),
                        )
                        .named(
                            ::goka::__private::Call::Sync(|_, raw| {
                                let (mut context, value) = ::goka::__private::handler_input::<
                                    Self,
                                    &str,
                                    ::std::string::String,
                                >(
                                        ::goka::__private::codec_of::<
                                            ::std::string::String,
                                            ::std::string::String,
                                        >(),
                                    )
                                    .enter(raw)?;
                                ::goka::__private::Returns::finish(
                                    click_count(&mut context, value),
                                )
                            }),
                            ::goka::__private::Start::Earliest,
                            "more-clicks",
                            ::goka::__private::here!(),
                        ),
                    ::goka::__private::output(
                        Self::OWN,
                        <Alerts as ::goka::__private::Topic>::SPEC,
                        ::goka::__private::here!(),
                    ),
                    ::goka::__private::table::<Self>(::goka::__private::here!()),
                ],
            },
            ..::goka::__private::TypeProbe::<Self>::MADE
        };
    }
    impl ::goka::__private::Topic for ClickCount {
        type Key = <Self as ::goka::__private::Processor>::Key;
        type Value = i64;
        type Partitioner = <Self as ::goka::__private::Processor>::Partitioner;
        const NAME: &'static str = "click-count-state";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec!(
            of i64
        );
        const PARTITIONS: ::core::option::Option<i32> = <UserClicks as ::goka::__private::Topic>::PARTITIONS;
        const KIND: ::goka::__private::TopicKind = ::goka::__private::TopicKind::GroupTable;
    }
    impl ::goka::__private::Table for ClickCount {}
    impl ::goka::__private::Persists<i64> for ClickCount {
        const TABLE: &'static str = <Self as ::goka::__private::Topic>::NAME;
        const CODEC: ::goka::__private::CodecOf<i64> = <Self as ::goka::__private::Topic>::CODEC;
    }
    impl ::goka::__private::Emits<Alerts> for ClickCount {}
    const _: () = ::goka::__private::distinct(
        <UserClicks as ::goka::__private::Topic>::NAME,
        "more-clicks",
    );
    const _: () = ::goka::__private::keyed(
        &[<UserClicks as ::goka::__private::Topic>::SPEC],
    );
    ::goka::__private::inventory::submit! {
        ::goka::__private::Entry(< ClickCount as ::goka::__private::Processor >
        ::DEFINITION)
    }
};
