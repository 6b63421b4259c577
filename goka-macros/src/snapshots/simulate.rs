/// Counts are right.
#[ignore = "slow"]
#[::core::prelude::v1::test]
pub fn r#match() {
    fn r#match() -> Workload {
        Workload::of::<ClickCount>()
    }
    ::goka::__private::simulate(
        ::core::concat!(::core::module_path!(), "::", "match"),
        2usize,
        500u64,
        &[::goka::__private::FaultKind::Crash, ::goka::__private::FaultKind::TornWrite],
        || r#match(),
    );
}
