//! The connector daemon for AWS Organizations.
//!
//! `ARCHITECTURE.md` shows the house: floors, and what may import what.

pub mod aws;
pub mod base;
pub mod catalog;
pub mod model;
pub mod store;
pub mod sync;
