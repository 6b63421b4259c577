#[allow(deprecated, unused_imports)]
const _: () = {
    use ::goka::__private::macros_0_1_0::{self as __goka, ProbeFallback as _};
    impl<T: __goka::Schema> __goka::Schema for Kind<T> {
        fn describe(to: &mut __goka::Describer) {
            let _ = &to;
            to.choice(
                __goka::Tag::Inside("kind"),
                |parts| {
                    let _ = &parts;
                    parts.name("very_empty");
                    parts
                        .add(
                            "full",
                            |to| {
                                to.of::<Box<Kind<T>>>();
                            },
                        );
                    parts
                        .add(
                            "rich",
                            |to| {
                                to.object(|parts| {
                                    let _ = &parts;
                                    parts.flatten::<Page<T>>();
                                    parts
                                        .add(
                                            "other",
                                            |to| {
                                                to.word("any");
                                            },
                                        );
                                });
                            },
                        );
                },
            );
        }
    }
};
