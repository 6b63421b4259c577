// A number is a literal without quotes.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(seeds = "many")]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
