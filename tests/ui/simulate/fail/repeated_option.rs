// An option is given once.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(seeds = 10, instances = 2, seeds = 20)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
