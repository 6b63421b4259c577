impl Mailbox {
    fn on_message(
        &mut self,
        ctx: &mut Context<'_, Self, <Self as ::goka::__private::Handler<0>>::Keying>,
        msg: Message,
    ) -> Result<()> {
        Ok(())
    }
    fn on_receipt(&self, ctx: &mut Context<'_, Self>) -> Result<()> {
        Ok(())
    }
    fn clean(&self, ctx: &mut Context<'_, Self>, least: i64) -> Result<()> {
        Ok(())
    }
}
const _: () = {
    #[allow(unused_imports)]
    use ::goka::__private::ProbeFallback as _;
    impl ::goka::__private::Processor for Mailbox {
        type Key = ::goka::__private::KeyOf<__IS_KEYLESS_0, Messages>;
        type Partitioner = ::goka::__private::PlaceOf<__IS_KEYLESS_0, Messages>;
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::BROKEN;
    }
    impl ::goka::__private::Emits<Pushes> for Mailbox {}
    impl<__GokaValue> ::goka::__private::Loops<__GokaValue> for Mailbox {
        const LOOP: &'static str = "";
        const CODEC: ::goka::__private::CodecOf<__GokaValue> = ::goka::__private::broken();
    }
    impl ::goka::__private::Joins<Profiles> for Mailbox {}
    const __IS_KEYLESS_0: bool = ::goka::__private::TypeProbe::<Messages>::IS_KEYLESS;
    impl ::goka::__private::Handler<0> for Mailbox {
        type Keying = ::goka::__private::KeyingOf<__IS_KEYLESS_0>;
    }
};
::core::compile_error! {
    "a handler takes `&self`, found `&mut self`\nhelp: what changes belongs in the group table, or behind a `Mutex`"
}
::core::compile_error! {
    "`#[join]` goes on the `impl`, not on a handler\nhelp: `#[processor(group = \"..\")] #[join(..)] impl Name { .. }`"
}
::core::compile_error! {
    "this handler takes no value\nhelp: `fn name(&self, ctx: &mut Context, value: T) -> Result<()>`"
}
::core::compile_error! {
    "a visit walks the group table, and this processor has none\nhelp: add `persist = <type>` to `#[processor(..)]`"
}
