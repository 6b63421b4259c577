fn click_count(click: String) {}
/// A processor with mistakes.
#[derive(Debug, Clone, Copy, Default)]
struct ClickCount;
const _: () = {
    #[allow(unused_imports)]
    use ::goka::__private::ProbeFallback as _;
    impl ::goka::__private::Processor for ClickCount {
        type Key = <UserClicks as ::goka::__private::Topic>::Key;
        type Partitioner = <UserClicks as ::goka::__private::Topic>::Partitioner;
        const DEFINITION: &'static ::goka::__private::Definition = &::goka::__private::BROKEN;
    }
    impl ::goka::__private::Emits<Alerts> for ClickCount {}
};
::core::compile_error! {
    "unknown option `persists` of `processor`\nhelp: did you mean `persist`?"
}
::core::compile_error! {
    "name `more clicks` has ` ` at position 4\nhelp: Kafka allows at most 249 of `a-z A-Z 0-9 . _ -`"
}
::core::compile_error! {
    "the first parameter of a handler is `&mut Context`, found `String`\nhelp: `fn name(ctx: &mut Context, value: T) -> Result<()>`"
}
::core::compile_error! {
    "a handler returns `Result<()>`, this one returns nothing\nhelp: `fn name(ctx: &mut Context, value: T) -> Result<()>`"
}
