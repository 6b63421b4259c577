// A simulation has at least one instance.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(instances = 0)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
