//! `fail_point!(name, records)`: a place where the crash harness may end the process. Nothing is
//! compiled without the feature `fail-points`; what it does with it is in `fail_points`.

macro_rules! fail_point {
    ($name:literal, $records:expr) => {
        #[cfg(feature = "fail-points")]
        $crate::fail_points::reached($name, $records);
    };
}
