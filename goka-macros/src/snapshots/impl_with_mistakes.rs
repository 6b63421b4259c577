impl Mailbox {
    fn on_message(
        &mut self,
        ctx: &mut Context<
            '_,
            Self,
            <Self as ::goka::__private::macros_0_1_0::Handler<0>>::Keying,
        >,
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
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Processor for Mailbox {
        type Key = __goka::KeyOf<__IS_KEYLESS_0, Messages>;
        type Partitioner = __goka::PartitionerOf<__IS_KEYLESS_0, Messages>;
        const DEFINITION: &'static __goka::Definition = &__goka::BROKEN;
    }
    impl __goka::Emits<Pushes> for Mailbox {}
    impl<__GokaValue> __goka::Loops<__GokaValue> for Mailbox {
        const LOOP: &'static str = "";
        const CODEC: __goka::CodecOf<__GokaValue> = __goka::broken();
    }
    impl __goka::Joins<Profiles> for Mailbox {}
    const __IS_KEYLESS_0: bool = __goka::TypeProbe::<Messages>::IS_KEYLESS;
    impl __goka::Handler<0> for Mailbox {
        type Keying = __goka::KeyingOf<__IS_KEYLESS_0>;
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
