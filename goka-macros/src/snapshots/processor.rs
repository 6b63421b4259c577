/// Counts clicks.
pub fn click_count(ctx: &mut Context<'_, ClickCount>, click: &str) -> Result<()> {
    Ok(())
}
/// Counts clicks.
///
/// The processor of group `click-count`, and the handle of its table.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClickCount;
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Processor for ClickCount {
        type Key = <UserClicks as __goka::Topic>::Key;
        type Partitioner = <UserClicks as __goka::Topic>::Partitioner;
        const OWN: __goka::OwnNames<Self> = __goka::own!("click-count", "-state");
        const EDGES: &'static [__goka::Edge] = &[
            __goka::input(
                Self::OWN,
                <UserClicks as __goka::Topic>::SPEC,
                __goka::parameter::<UserClicks, _, &str>(),
                __goka::Call::Sync(|_, raw| {
                    let (mut ctx, v) = __goka::enter::<UserClicks, _, &str, _>(raw)?;
                    __goka::Returns::finish(click_count(&mut ctx, v))
                }),
                __goka::here!(),
            ),
            __goka::named_input(
                Self::OWN,
                "more-clicks",
                __goka::named::<_, &str>(__goka::codec_of::<__goka::String, _>()),
                __goka::Call::Sync(|_, raw| {
                    let (mut ctx, v) = __goka::enter_named::<
                        _,
                        &str,
                        _,
                    >(raw, __goka::codec_of::<__goka::String, _>())?;
                    __goka::Returns::finish(click_count(&mut ctx, v))
                }),
                __goka::here!(),
            ),
            __goka::output(Self::OWN, <Alerts as __goka::Topic>::SPEC, __goka::here!()),
            __goka::table::<Self>(__goka::here!()),
        ];
        const DEFINITION: &'static __goka::Definition = &__goka::Definition {
            graph: __goka::graph("ClickCount", Self::OWN, Self::EDGES, __goka::here!()),
            ..__goka::TypeProbe::<Self>::MADE
        };
    }
    impl __goka::Topic for ClickCount {
        type Key = <Self as __goka::Processor>::Key;
        type Value = i64;
        type Partitioner = <Self as __goka::Processor>::Partitioner;
        const NAME: &'static str = "click-count-state";
        const CODEC: __goka::CodecOf<Self::Value> = __goka::codec!(of i64);
        const PARTITIONS: ::core::option::Option<i32> = <UserClicks as __goka::Topic>::PARTITIONS;
        const KIND: __goka::TopicKind = __goka::TopicKind::GroupTable;
    }
    impl __goka::Table for ClickCount {}
    impl __goka::Persists<i64> for ClickCount {
        type Table = Self;
    }
    impl __goka::Emits<Alerts> for ClickCount {}
    const _: () = __goka::distinct(<UserClicks as __goka::Topic>::NAME, "more-clicks");
    const _: () = __goka::keyed(&[<UserClicks as __goka::Topic>::SPEC]);
    __goka::inventory::submit! {
        __goka::Entry(< ClickCount as __goka::Processor > ::DEFINITION)
    }
};
