//! Each rule on histories by hand.
