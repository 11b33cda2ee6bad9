//! The rooms of the connector that fuzzing is about.

#[path = "../../connector/src/base/mod.rs"]
pub mod base;
#[path = "../../connector/src/model/mod.rs"]
pub mod model;
