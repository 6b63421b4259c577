/// Counts are right.
#[ignore = "slow"]
#[::core::prelude::v1::test]
pub fn r#match() {
    fn r#match() -> Workload {
        Workload::of::<ClickCount>()
    }
    ::goka::__private::macros_0_1_0::simulate(
        ::core::concat!(::core::module_path!(), "::", "match"),
        2usize,
        500u64,
        &[
            ::goka::__private::macros_0_1_0::FaultKind::Crash,
            ::goka::__private::macros_0_1_0::FaultKind::TornWrite,
        ],
        || r#match(),
    );
}
