impl Counts {
    fn count(ctx: &mut Context<'_, Self>, click: &str) -> Result<()> {
        Ok(())
    }
    fn clean(&self, ctx: &mut Context<'_, Self>, least: &i64) -> Result<()> {
        Ok(())
    }
}
#[allow(deprecated)]
const _: () = {
    #[allow(unused_imports)]
    use ::goka::__private::ProbeFallback as _;
    impl ::goka::__private::Processor for Counts {
        type Key = ::std::string::String;
        type Partitioner = ::goka::__private::Murmur2;
        const OWN: [&'static str; 3] = ::goka::__private::own!("g", "-table");
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::Definition {
            graph: ::goka::__private::GroupGraph {
                name: "Counts",
                group: "g",
                location: ::goka::__private::here!(),
                guarantee: ::goka::__private::Guarantee::AtLeastOnce,
                edges: &[
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
                                    Self::count(&mut context, value),
                                )
                            }),
                            ::goka::__private::Start::Latest,
                            "clicks",
                            ::goka::__private::here!(),
                        ),
                    ::goka::__private::handler_input::<
                        Self,
                        i64,
                        i64,
                    >(::goka::__private::codec_of::<i64, i64>())
                        .visit(
                            ::goka::__private::Call::Sync(|shared, raw| {
                                let (mut context, value) = ::goka::__private::handler_input::<
                                    Self,
                                    i64,
                                    i64,
                                >(::goka::__private::codec_of::<i64, i64>())
                                    .enter(raw)?;
                                ::goka::__private::Returns::finish(
                                    Self::clean(
                                        ::goka::__private::this(shared),
                                        &mut context,
                                        &value,
                                    ),
                                )
                            }),
                            "forget",
                            ::goka::__private::here!(),
                        ),
                    ::goka::__private::table::<Self>(::goka::__private::here!()),
                ],
            },
            ..::goka::__private::TypeProbe::<Self>::MADE
        };
    }
    impl ::goka::__private::Topic for Counts {
        type Key = <Self as ::goka::__private::Processor>::Key;
        type Value = i64;
        type Partitioner = <Self as ::goka::__private::Processor>::Partitioner;
        const NAME: &'static str = "g-table";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec!(
            of i64
        );
        const PARTITIONS: ::core::option::Option<i32> = ::core::option::Option::None;
        const KIND: ::goka::__private::TopicKind = ::goka::__private::TopicKind::GroupTable;
    }
    impl ::goka::__private::Table for Counts {}
    impl ::goka::__private::Persists<i64> for Counts {
        const TABLE: &'static str = <Self as ::goka::__private::Topic>::NAME;
        const CODEC: ::goka::__private::CodecOf<i64> = <Self as ::goka::__private::Topic>::CODEC;
    }
    const _: () = ::goka::__private::shared::<Counts>();
    ::goka::__private::inventory::submit! {
        ::goka::__private::Entry(< Counts as ::goka::__private::Processor > ::DEFINITION)
    }
};
