impl Mailbox {
    fn on_message(
        &self,
        ctx: &mut Context<
            '_,
            Self,
            <Self as ::goka::__private::macros_0_1_0::Handler<0>>::Keying,
        >,
        msg: Message,
    ) -> Result<()> {
        Ok(())
    }
    async fn on_receipt(
        &self,
        ctx: &mut Context<'_, Self>,
        receipt: Json<Receipt>,
    ) -> Result<()> {
        Ok(())
    }
}
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Processor for Mailbox {
        type Key = __goka::KeyOf<__IS_KEYLESS_0, Messages>;
        type Partitioner = __goka::PartitionerOf<__IS_KEYLESS_0, Messages>;
        const OWN: __goka::OwnNames<Self> = __goka::own!("mailbox", "-state");
        const EDGES: &'static [__goka::Edge] = &[
            __goka::join(
                Self::OWN,
                <Profiles as __goka::ReadTable>::SPEC,
                __goka::here!(),
            ),
            __goka::lookup(
                Self::OWN,
                <Devices as __goka::ReadTable>::SPEC,
                __goka::here!(),
            ),
            __goka::output(Self::OWN, <Pushes as __goka::Topic>::SPEC, __goka::here!()),
            __goka::input(
                Self::OWN,
                <Messages as __goka::Topic>::SPEC,
                __goka::parameter::<Messages, _, Message>(),
                __goka::Call::Sync(|shared, raw| {
                    let (mut ctx, v) = __goka::enter::<Messages, _, Message, _>(raw)?;
                    __goka::Returns::finish(
                        Self::on_message(__goka::this(shared), &mut ctx, v),
                    )
                }),
                __goka::here!(),
            ),
            __goka::loopback(
                Self::OWN,
                __goka::named::<
                    _,
                    Json<Receipt>,
                >(__goka::codec_of::<Json<Receipt>, _>()),
                __goka::Call::Async(|shared, raw| __goka::handling(async move {
                    let (mut ctx, v) = __goka::enter_named::<
                        _,
                        Json<Receipt>,
                        _,
                    >(raw, __goka::codec_of::<Json<Receipt>, _>())?;
                    __goka::Returns::finish(
                        Self::on_receipt(__goka::this(shared), &mut ctx, v).await,
                    )
                })),
                __goka::here!(),
            ),
            __goka::table::<Self>(__goka::here!()),
        ];
        const DEFINITION: &'static __goka::Definition = &__goka::Definition {
            graph: __goka::graph("Mailbox", Self::OWN, Self::EDGES, __goka::here!()),
            ..__goka::TypeProbe::<Self>::MADE
        };
    }
    impl __goka::Topic for Mailbox {
        type Key = <Self as __goka::Processor>::Key;
        type Value = Inbox;
        type Partitioner = <Self as __goka::Processor>::Partitioner;
        const NAME: &'static str = "mailbox-state";
        const CODEC: __goka::CodecOf<Self::Value> = __goka::codec!(of Json < Inbox >);
        const PARTITIONS: ::core::option::Option<i32> = <Messages as __goka::Topic>::PARTITIONS;
        const KIND: __goka::TopicKind = __goka::TopicKind::GroupTable;
    }
    impl __goka::Table for Mailbox {}
    impl __goka::Persists<Inbox> for Mailbox {
        type Table = Self;
    }
    impl __goka::Joins<Profiles> for Mailbox {}
    impl __goka::LooksUp<Devices> for Mailbox {}
    impl __goka::Emits<Pushes> for Mailbox {}
    impl __goka::Loops<Receipt> for Mailbox {
        const LOOP: &'static str = "mailbox-loop";
        const CODEC: __goka::CodecOf<Receipt> = __goka::codec_of::<Json<Receipt>, _>();
    }
    const __IS_KEYLESS_0: bool = __goka::TypeProbe::<Messages>::IS_KEYLESS;
    impl __goka::Handler<0> for Mailbox {
        type Keying = __goka::KeyingOf<__IS_KEYLESS_0>;
    }
    const _: () = __goka::shared::<Mailbox>();
    const _: () = __goka::joined::<
        <Profiles as __goka::ReadTable>::Key,
        <Profiles as __goka::ReadTable>::Partitioner,
        Profiles,
        Mailbox,
    >();
    const _: () = __goka::copartitioned(
        <Messages as __goka::Topic>::SPEC,
        <Profiles as __goka::ReadTable>::SPEC,
        "an input and a joined table",
    );
    __goka::inventory::submit! {
        __goka::Entry(< Mailbox as __goka::Processor > ::DEFINITION)
    }
};
