fn click_count(click: String) {}
/// The processor of group `click-count`.
#[derive(Debug, Clone, Copy, Default)]
struct ClickCount;
#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl __goka::Processor for ClickCount {
        type Key = <UserClicks as __goka::Topic>::Key;
        type Partitioner = <UserClicks as __goka::Topic>::Partitioner;
        const DEFINITION: &'static __goka::Definition = &__goka::BROKEN;
    }
    impl __goka::Emits<Alerts> for ClickCount {}
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
