impl<T> Router<T>
where
    T: Serde,
    T: 'static,
{
    fn on(&self, ctx: &mut Context<'_, Self>, event: &T) -> Result<()> {
        Ok(())
    }
}
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl<T> __goka::Processor for Router<T>
    where
        T: Serde,
        T: 'static,
    {
        type Key = <Events<T> as __goka::Topic>::Key;
        type Partitioner = <Events<T> as __goka::Topic>::Partitioner;
        const OWN: __goka::OwnNames<Self> = __goka::own!("g", "-state");
        const EDGES: &'static [__goka::Edge] = &[
            __goka::output(Self::OWN, <Alerts as __goka::Topic>::SPEC, __goka::here!()),
            __goka::input(
                Self::OWN,
                <Events<T> as __goka::Topic>::SPEC,
                __goka::parameter::<Events<T>, _, T>(),
                __goka::Call::Sync(|shared, raw| {
                    let (mut ctx, v) = __goka::enter::<Events<T>, _, T, _>(raw)?;
                    __goka::Returns::finish(Self::on(__goka::this(shared), &mut ctx, &v))
                }),
                __goka::here!(),
            ),
            __goka::table::<Self>(__goka::here!()),
        ];
        const DEFINITION: &'static __goka::Definition = {
            __goka::keyed(&[<Events<T> as __goka::Topic>::SPEC]);
            &__goka::Definition {
                graph: __goka::graph("Router", Self::OWN, Self::EDGES, __goka::here!()),
                ..__goka::TypeProbe::<Self>::MADE
            }
        };
    }
    impl<T> __goka::Topic for Router<T>
    where
        T: Serde,
        T: 'static,
    {
        type Key = <Self as __goka::Processor>::Key;
        type Value = T;
        type Partitioner = <Self as __goka::Processor>::Partitioner;
        const NAME: &'static str = "g-state";
        const CODEC: __goka::CodecOf<Self::Value> = __goka::codec!(of Json < T >);
        const PARTITIONS: ::core::option::Option<i32> = <Events<
            T,
        > as __goka::Topic>::PARTITIONS;
        const KIND: __goka::TopicKind = __goka::TopicKind::GroupTable;
    }
    impl<T> __goka::Table for Router<T>
    where
        T: Serde,
        T: 'static,
    {}
    impl<T> __goka::Persists<T> for Router<T>
    where
        T: Serde,
        T: 'static,
    {
        type Table = Self;
    }
    impl<T> __goka::Emits<Alerts> for Router<T>
    where
        T: Serde,
        T: 'static,
    {}
};
