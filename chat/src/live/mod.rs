//! Live delivery.
