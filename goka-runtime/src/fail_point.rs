//! `fail_point!(name, records)`: a place where the crash harness may end the process. Nothing is
//! compiled without the feature `fail-points`; what it does with it is in `fail_points`. `mutant!(Name)`:
//! whether that mistake is to be made here.

macro_rules! fail_point {
    ($name:literal, $records:expr) => {
        #[cfg(feature = "fail-points")]
        $crate::fail_points::reached($name, $records);
    };
}

/// Whether a mistake is planted; never without the feature `fail-points`.
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
