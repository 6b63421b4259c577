// A simulation is a test without `#[test]`.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate]
#[test]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
