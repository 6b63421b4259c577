// A simulation has 16 instances at most.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(seeds = 10, instances = 17)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
