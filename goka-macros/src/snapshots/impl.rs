impl Mailbox {
    fn on_message(
        &self,
        ctx: &mut Context<'_, Self, <Self as ::goka::__private::Handler<0>>::Keying>,
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
#[allow(deprecated)]
const _: () = {
    #[allow(unused_imports)]
    use ::goka::__private::ProbeFallback as _;
    impl ::goka::__private::Processor for Mailbox {
        type Key = ::goka::__private::KeyOf<__IS_KEYLESS_0, Messages>;
        type Partitioner = ::goka::__private::PlaceOf<__IS_KEYLESS_0, Messages>;
        const OWN: [&'static str; 3] = ::goka::__private::own!("mailbox", "-state");
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::Definition {
            graph: ::goka::__private::GroupGraph {
                name: "Mailbox",
                group: "mailbox",
                location: ::goka::__private::here!(),
                guarantee: ::goka::__private::Guarantee::AtLeastOnce,
                edges: &[
                    ::goka::__private::join(
                        Self::OWN,
                        <Profiles as ::goka::__private::ReadTable>::SPEC,
                        ::goka::__private::here!(),
                    ),
                    ::goka::__private::lookup(
                        Self::OWN,
                        <Devices as ::goka::__private::ReadTable>::SPEC,
                        ::goka::__private::here!(),
                    ),
                    ::goka::__private::output(
                        Self::OWN,
                        <Pushes as ::goka::__private::Topic>::SPEC,
                        ::goka::__private::here!(),
                    ),
                    ::goka::__private::HandlerInput::input(
                        ::goka::__private::handler_input::<
                            Self,
                            Message,
                            <Messages as ::goka::__private::Topic>::Value,
                        >(<Messages as ::goka::__private::Topic>::CODEC)
                            .reading(<Messages as ::goka::__private::Topic>::KIND),
                        ::goka::__private::Call::Sync(|shared, raw| {
                            let (mut context, value) = ::goka::__private::handler_input::<
                                Self,
                                Message,
                                <Messages as ::goka::__private::Topic>::Value,
                            >(<Messages as ::goka::__private::Topic>::CODEC)
                                .enter(raw)?;
                            ::goka::__private::Returns::finish(
                                Self::on_message(
                                    ::goka::__private::this(shared),
                                    &mut context,
                                    value,
                                ),
                            )
                        }),
                        ::goka::__private::Start::Earliest,
                        <Messages as ::goka::__private::Topic>::SPEC,
                        ::goka::__private::here!(),
                    ),
                    ::goka::__private::handler_input::<
                        Self,
                        Json<Receipt>,
                        Receipt,
                    >(::goka::__private::codec_of::<Json<Receipt>, Receipt>())
                        .loopback(
                            ::goka::__private::Call::Async(|shared, raw| ::goka::__private::handling(async move {
                                let (mut context, value) = ::goka::__private::handler_input::<
                                    Self,
                                    Json<Receipt>,
                                    Receipt,
                                >(::goka::__private::codec_of::<Json<Receipt>, Receipt>())
                                    .enter(raw)?;
                                ::goka::__private::Returns::finish(
                                    Self::on_receipt(
                                            ::goka::__private::this(shared),
                                            &mut context,
                                            value,
                                        )
                                        .await,
                                )
                            })),
                            ::goka::__private::here!(),
                        ),
                    ::goka::__private::table::<Self>(::goka::__private::here!()),
                ],
            },
            ..::goka::__private::TypeProbe::<Self>::MADE
        };
    }
    impl ::goka::__private::Topic for Mailbox {
        type Key = <Self as ::goka::__private::Processor>::Key;
        type Value = Inbox;
        type Partitioner = <Self as ::goka::__private::Processor>::Partitioner;
        const NAME: &'static str = "mailbox-state";
        const CODEC: ::goka::__private::CodecOf<Self::Value> = ::goka::__private::codec!(
            of Json < Inbox >
        );
        const PARTITIONS: ::core::option::Option<i32> = <Messages as ::goka::__private::Topic>::PARTITIONS;
        const KIND: ::goka::__private::TopicKind = ::goka::__private::TopicKind::GroupTable;
    }
    impl ::goka::__private::Table for Mailbox {}
    impl ::goka::__private::Persists<Inbox> for Mailbox {
        const TABLE: &'static str = <Self as ::goka::__private::Topic>::NAME;
        const CODEC: ::goka::__private::CodecOf<Inbox> = <Self as ::goka::__private::Topic>::CODEC;
    }
    impl ::goka::__private::Joins<Profiles> for Mailbox {}
    impl ::goka::__private::LooksUp<Devices> for Mailbox {}
    impl ::goka::__private::Emits<Pushes> for Mailbox {}
    impl ::goka::__private::Loops<Receipt> for Mailbox {
        const LOOP: &'static str = "mailbox-loop";
        const CODEC: ::goka::__private::CodecOf<Receipt> = ::goka::__private::codec_of::<
            Json<Receipt>,
            Receipt,
        >();
    }
    const __IS_KEYLESS_0: bool = ::goka::__private::TypeProbe::<Messages>::IS_KEYLESS;
    impl ::goka::__private::Handler<0> for Mailbox {
        type Keying = ::goka::__private::KeyingOf<__IS_KEYLESS_0>;
    }
    const _: () = ::goka::__private::shared::<Mailbox>();
    const _: () = ::goka::__private::joined::<
        <Profiles as ::goka::__private::ReadTable>::Key,
        <Profiles as ::goka::__private::ReadTable>::Partitioner,
        Profiles,
        Mailbox,
    >();
    const _: () = ::goka::__private::copartitioned(
        <Messages as ::goka::__private::Topic>::SPEC,
        <Profiles as ::goka::__private::ReadTable>::SPEC,
        "an input and a joined table",
    );
    ::goka::__private::inventory::submit! {
        ::goka::__private::Entry(< Mailbox as ::goka::__private::Processor >
        ::DEFINITION)
    }
};
