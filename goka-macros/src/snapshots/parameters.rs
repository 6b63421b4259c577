impl<T> Router<T>
where
    T: Serde,
    T: 'static,
{
    fn on(&self, ctx: &mut Context<'_, Self>, event: &T) -> Result<()> {
        Ok(())
    }
}
#[allow(deprecated)]
const _: () = {
    #[allow(unused_imports)]
    use ::goka::__private::ProbeFallback as _;
    impl<T> ::goka::__private::Processor for Router<T>
    where
        T: Serde,
        T: 'static,
    {
        type Key = <Events<T> as ::goka::__private::Topic>::Key;
        type Partitioner = <Events<T> as ::goka::__private::Topic>::Partitioner;
        const OWN: [&'static str; 3] = ::goka::__private::own!("g", "-state");
        const DEFINITION: &'static ::goka::__private::Definition = {
            ::goka::__private::keyed(&[<Events<T> as ::goka::__private::Topic>::SPEC]);
            &::goka::__private::Definition {
                graph: ::goka::__private::GroupGraph {
                    name: "Router",
                    group: "g",
                    location: ::goka::__private::here!(),
                    guarantee: ::goka::__private::Guarantee::AtLeastOnce,
                    edges: &[
                        ::goka::__private::output(
                            Self::OWN,
                            <Alerts as ::goka::__private::Topic>::SPEC,
                            ::goka::__private::here!(),
                        ),
                        ::goka::__private::HandlerInput::input(
                            ::goka::__private::handler_input::<
                                Self,
                                T,
                                <Events<T> as ::goka::__private::Topic>::Value,
                            >(<Events<T> as ::goka::__private::Topic>::CODEC)
                                .reading(<Events<T> as ::goka::__private::Topic>::KIND),
                            ::goka::__private::Call::Sync(|shared, raw| {
                                let (mut context, value) = ::goka::__private::handler_input::<
                                    Self,
                                    T,
                                    <Events<T> as ::goka::__private::Topic>::Value,
                                >(<Events<T> as ::goka::__private::Topic>::CODEC)
                                    .enter(raw)?;
                                ::goka::__private::Returns::finish(
                                    Self::on(
                                        ::goka::__private::this(shared),
                                        &mut context,
                                        &value,
                                    ),
                                )
                            }),
                            ::goka::__private::Start::Earliest,
                            <Events<T> as ::goka::__private::Topic>::SPEC,
                            ::goka::__private::here!(),
                        ),
                        ::goka::__private::table::<Self>(::goka::__private::here!()),
                    ],
                },
                ..::goka::__private::TypeProbe::<Self>::MADE
            }
        };
    }
    impl<T> ::goka::__private::Topic for Router<T>
    where
        T: Serde,
        T: 'static,
    {
        type Key = <Self as ::goka::__private::Processor>::Key;
        type Value = T;
        type Partitioner = <Self as ::goka::__private::Processor>::Partitioner;
        const NAME: &'static str = "g-state";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec!(
            of Json < T >
        );
        const PARTITIONS: ::core::option::Option<i32> = <Events<
            T,
        > as ::goka::__private::Topic>::PARTITIONS;
        const KIND: ::goka::__private::TopicKind = ::goka::__private::TopicKind::GroupTable;
    }
    impl<T> ::goka::__private::Table for Router<T>
    where
        T: Serde,
        T: 'static,
    {}
    impl<T> ::goka::__private::Persists<T> for Router<T>
    where
        T: Serde,
        T: 'static,
    {
        const TABLE: &'static str = <Self as ::goka::__private::Topic>::NAME;
        const CODEC: ::goka::__private::CodecOf<T> = <Self as ::goka::__private::Topic>::CODEC;
    }
    impl<T> ::goka::__private::Emits<Alerts> for Router<T>
    where
        T: Serde,
        T: 'static,
    {}
};
