// A simulation is not an `async fn`.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate]
async fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
