//! The connector daemon for AWS Organizations.
//!
//! `ARCHITECTURE.md` shows the house: floors, and what may import what.

pub mod base;
pub mod model;
