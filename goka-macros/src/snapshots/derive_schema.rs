const _: () = {
    impl<T: ::goka::__private::Schema> ::goka::__private::Schema for Kind<T> {
        fn describe(to: &mut ::goka::__private::Describer) {
            let _ = &to;
            to.choice(
                ::goka::__private::Tag::Inside("kind"),
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
