//! The connector daemon for AWS Organizations.
//!
//! `ARCHITECTURE.md` shows the house: floors, and what may import what.

pub mod access;
pub mod api;
pub mod audit;
pub mod aws;
pub mod base;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod guard;
pub mod model;
pub mod privileges;
pub mod store;
pub mod sync;
pub mod tasks;
pub mod telemetry;
