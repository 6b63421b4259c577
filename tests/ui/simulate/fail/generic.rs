// A simulation has no type parameters.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate]
fn counts<P: goka::Processor>() -> Workload {
    Workload::of::<P>()
}

fn main() {}
