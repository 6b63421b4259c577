//! Three macros for tests of the engine. `fail_point!(name, records)` marks where the crash harness may end
//! the process; `mutant!(Name)` is true where a known mistake is to be made, and `mutation!(f(right, ..))` is a value
//! that a mistake may change. Without the feature `fail-points` they compile to nothing, to `false` and to the right
//! value. See `fail_points`.

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
        let is_active =
            $crate::fail_points::mutant() == Some($crate::fail_points::Mutant::$mistake);
        #[cfg(not(feature = "fail-points"))]
        let is_active = false;
        is_active
    }};
}

/// A value that an active mutation changes, by a function of `fail_points`; the first argument is the right value.
macro_rules! mutation {
    ($change:ident($right:expr $(, $other:expr)*)) => {{
        #[cfg(feature = "fail-points")]
        let value = $crate::fail_points::$change($right $(, $other)*);
        #[cfg(not(feature = "fail-points"))]
        let value = $right;
        value
    }};
}
