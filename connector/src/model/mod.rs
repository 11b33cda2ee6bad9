//! Floor 1: the domain, pure. No async, no input or output, no clock.
//!
//! What is decided is decided here; the rooms above fetch the facts, ask a
//! function of this room, and do what it says.

pub mod arn;
pub mod assignment;
pub mod attribution;
pub mod breaker;
pub mod details;
pub mod errand;
pub mod failure;
pub mod feed;
pub mod filter;
pub mod form;
pub mod grant;
pub mod history;
pub mod holding;
pub mod ids;
pub mod integration;
pub mod log_file;
pub mod object;
pub mod organization;
pub mod owner;
pub mod policy_document;
pub mod problem;
pub mod proof;
pub mod record;
pub mod recovery;
pub mod refusal;
pub mod resource;
pub mod role;
pub mod schedule;
pub mod scope;
pub mod seal;
pub mod share;
pub mod statement;
pub mod status;
pub mod sync;
pub mod target;
pub mod text;
pub mod trust;
pub mod trust_document;
pub mod unit;
pub mod validation;
