// A simulation runs at least one seed.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(seeds = 0)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
