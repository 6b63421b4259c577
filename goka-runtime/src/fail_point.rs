//! Two macros for tests of the engine. `fail_point!(name, records)` marks where the crash harness may end
//! the process; `mutant!(Name)` is true where a known mistake is to be made. Without the feature
//! `fail-points` the first compiles to nothing and the second to `false`. See `fail_points`.

macro_rules! fail_point {
    ($name:literal, $records:expr) => {
        #[cfg(feature = "fail-points")]
        $crate::fail_points::reached($name, $records);
    };
}

/// Whether a mutation is active; never without the feature `fail-points`.
macro_rules! mutant {
    ($mistake:ident) => {{
        #[cfg(feature = "fail-points")]
        let is_planted =
            $crate::fail_points::mutant() == Some($crate::fail_points::Mutant::$mistake);
        #[cfg(not(feature = "fail-points"))]
        let is_planted = false;
        is_planted
    }};
}
