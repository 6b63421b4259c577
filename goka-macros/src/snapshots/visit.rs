impl Counts {
    fn count(ctx: &mut Context<'_, Self>, click: &str) -> Result<()> {
        Ok(())
    }
    fn clean(&self, ctx: &mut Context<'_, Self>, least: &i64) -> Result<()> {
        Ok(())
    }
}
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Processor for Counts {
        type Key = ::std::string::String;
        type Partitioner = __goka::Murmur2;
        const OWN: __goka::OwnNames<Self> = __goka::own!("g", "-table");
        const EDGES: &'static [__goka::Edge] = &[
            __goka::latest(
                __goka::named_input(
                    Self::OWN,
                    "clicks",
                    __goka::named::<_, &str>(__goka::codec_of::<__goka::String, _>()),
                    __goka::Call::Sync(|_, raw| {
                        let (mut ctx, v) = __goka::enter_named::<
                            _,
                            &str,
                            _,
                        >(raw, __goka::codec_of::<__goka::String, _>())?;
                        __goka::Returns::finish(Self::count(&mut ctx, v))
                    }),
                    __goka::here!(),
                ),
            ),
            __goka::visit(
                Self::OWN,
                "forget",
                __goka::named::<_, i64>(__goka::codec_of::<i64, _>()),
                __goka::Call::Sync(|shared, raw| {
                    let (mut ctx, v) = __goka::enter_named::<
                        _,
                        i64,
                        _,
                    >(raw, __goka::codec_of::<i64, _>())?;
                    __goka::Returns::finish(
                        Self::clean(__goka::this(shared), &mut ctx, &v),
                    )
                }),
                __goka::here!(),
            ),
            __goka::table::<Self>(__goka::here!()),
        ];
        const DEFINITION: &'static __goka::Definition = &__goka::Definition {
            graph: __goka::graph("Counts", Self::OWN, Self::EDGES, __goka::here!()),
            ..__goka::TypeProbe::<Self>::MADE
        };
    }
    impl __goka::Topic for Counts {
        type Key = <Self as __goka::Processor>::Key;
        type Value = i64;
        type Partitioner = <Self as __goka::Processor>::Partitioner;
        const NAME: &'static str = "g-table";
        const CODEC: __goka::CodecOf<Self::Value> = __goka::codec!(of i64);
        const PARTITIONS: ::core::option::Option<i32> = ::core::option::Option::None;
        const KIND: __goka::TopicKind = __goka::TopicKind::GroupTable;
    }
    impl __goka::Table for Counts {}
    impl __goka::Persists<i64> for Counts {
        type Table = Self;
    }
    const _: () = __goka::shared::<Counts>();
    __goka::inventory::submit! {
        __goka::Entry(< Counts as __goka::Processor > ::DEFINITION)
    }
};
