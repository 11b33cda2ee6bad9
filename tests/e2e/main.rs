//! End-to-end tests: the real daemon as a process, a real PostgreSQL, gRPC over a
//! socket, AWS over HTTP. Each file says which AWS it ran against.
//!
//! `tests/bin/postgres` starts the database server and says where it is (`TEST_DATABASE_URL`);
//! each test has a database of its own.

mod absence;
mod access;
mod access_table;
mod audit;
mod bad_forms;
mod bad_requests;
mod bad_settings;
mod check;
mod cli;
mod coverage;
mod crash;
mod crash_matrix;
mod embedded;
mod enrichment;
mod estate;
mod exclusion;
mod fairness;
mod faults;
mod feed;
mod filters;
mod harness;
mod history;
mod hostile;
mod metrics;
mod moto;
mod narrowed;
mod owners;
mod path;
mod privileges;
mod random;
mod refusals;
mod reload;
mod replicas;
mod schedule;
mod statistics;
mod streams;
mod traces;
