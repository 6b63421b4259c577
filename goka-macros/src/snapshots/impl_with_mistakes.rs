impl Mailbox {
    fn on_message(&mut self, ctx: &mut Context<'_, Self>, msg: Message) -> Result<()> {
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
    impl ::goka::__private::Processor for Mailbox {
        type Key = <Messages as ::goka::__private::Topic>::Key;
        type Partitioner = <Messages as ::goka::__private::Topic>::Partitioner;
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::BROKEN;
    }
    impl ::goka::__private::Emits<Pushes> for Mailbox {}
    impl<__GokaValue> ::goka::__private::Loops<__GokaValue> for Mailbox {
        const LOOP: &'static str = "";
        const CODEC: ::goka::__private::CodecOf<__GokaValue> = ::goka::__private::broken();
    }
    impl ::goka::__private::Joins<Profiles> for Mailbox {}
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
