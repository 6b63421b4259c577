// A simulation returns a `Workload`.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate]
fn counts() {
    let _ = Workload::of::<ClickCount>();
}

fn main() {}
