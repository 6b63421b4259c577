//! The everyday tester, as users meet it: processors made by the macros, on the simulated log.

mod counts;
