fn count(ctx: &mut Context<'_, Count>, click: &str) -> Result<()> {
    Ok(())
}
/// The processor of group `g`.
#[derive(Debug, Clone, Copy, Default)]
struct Count;
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Processor for Count {
        type Key = ::std::string::String;
        type Partitioner = __goka::Murmur2;
        const OWN: __goka::OwnNames<Self> = __goka::own!("g", "-state");
        const EDGES: &'static [__goka::Edge] = &[
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
                    __goka::Returns::finish(count(&mut ctx, v))
                }),
                __goka::here!(),
            ),
            __goka::join(
                Self::OWN,
                <Profiles as __goka::ReadTable>::SPEC,
                __goka::here!(),
            ),
        ];
        const DEFINITION: &'static __goka::Definition = &__goka::Definition {
            graph: __goka::graph("Count", Self::OWN, Self::EDGES, __goka::here!()),
            ..__goka::TypeProbe::<Self>::MADE
        };
    }
    impl __goka::Joins<Profiles> for Count {}
    const _: () = __goka::joined::<
        <Profiles as __goka::ReadTable>::Key,
        <Profiles as __goka::ReadTable>::Partitioner,
        Profiles,
        Count,
    >();
    __goka::inventory::submit! {
        __goka::Entry(< Count as __goka::Processor > ::DEFINITION)
    }
};
