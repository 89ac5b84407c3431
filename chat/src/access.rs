//! Proofs of permission.
