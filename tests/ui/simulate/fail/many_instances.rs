// A simulation has at most 16 instances.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(seeds = 10, instances = 17)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
