fn count(ctx: &mut Context<'_, Count>, click: &str) -> Result<()> {
    Ok(())
}
/// The processor of group `g`.
#[derive(Debug, Clone, Copy, Default)]
struct Count;
#[allow(deprecated)]
const _: () = {
    #[allow(unused_imports)]
    use ::goka::__private::ProbeFallback as _;
    impl ::goka::__private::Processor for Count {
        type Key = ::std::string::String;
        type Partitioner = ::goka::__private::Murmur2;
        const OWN: [&'static str; 3] = ::goka::__private::own!("g", "-state");
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::Definition {
            graph: ::goka::__private::GroupGraph {
                name: "Count",
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
                                    count(&mut context, value),
                                )
                            }),
                            ::goka::__private::Start::Earliest,
                            "clicks",
                            ::goka::__private::here!(),
                        ),
                    ::goka::__private::join(
                        Self::OWN,
                        <Profiles as ::goka::__private::ReadTable>::SPEC,
                        ::goka::__private::here!(),
                    ),
                ],
            },
            ..::goka::__private::TypeProbe::<Self>::MADE
        };
    }
    impl ::goka::__private::Joins<Profiles> for Count {}
    const _: () = ::goka::__private::joined::<
        <Profiles as ::goka::__private::ReadTable>::Key,
        <Profiles as ::goka::__private::ReadTable>::Partitioner,
        Profiles,
        Count,
    >();
    ::goka::__private::inventory::submit! {
        ::goka::__private::Entry(< Count as ::goka::__private::Processor > ::DEFINITION)
    }
};
