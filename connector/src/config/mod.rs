//! Floor 7: settings.
//!
//! One TOML file, the environment over it. What is read here is raw: text and numbers
//! as people write them. [`parse`] turns it into the checked configuration of each
//! room, so that a wrong value cannot travel further than this floor.
//!
//! The environment names a key by its path, `APONO__SYNC__GROUPS_AT_ONCE=4`. Two
//! variables keep the meaning that they have in the real product: `APONO_CONNECTOR_ID`
//! and `DATABASE_URL`.

use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use serde::Deserialize;

mod parse;

pub use parse::{Database, Grpc, LogFormat, OnUnkeptState, Settings, Tls};

/// Where the settings are when nothing is said.
pub const FILE_DEFAULT: &str = "/etc/apono-connector/connector.toml";

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("failed to read the settings")]
    Read(#[source] config::ConfigError),
    /// A key that is not known, or a value of the wrong kind.
    #[error("setting {key} cannot be used: {problem}")]
    Shape {
        /// Path of the key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A value that makes no sense.
    #[error("setting {key} {problem}")]
    Value {
        /// Path of the key.
        key: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// Reads file and environment.
///
/// # Errors
///
/// Names the key that cannot be used.
pub fn load(file: Option<&Path>) -> Result<Settings, Error> {
    let source = match file {
        Some(path) => File::from(path).format(FileFormat::Toml).required(true),
        None => File::new(FILE_DEFAULT, FileFormat::Toml).required(false),
    };
    let environment =
        Environment::with_prefix("APONO").prefix_separator("__").separator("__").try_parsing(true);
    let mut builder = Config::builder().add_source(source).add_source(environment);
    for (variable, key) in
        [("DATABASE_URL", "database.url"), ("APONO_CONNECTOR_ID", "connector_id")]
    {
        if let Ok(value) = std::env::var(variable) {
            builder = builder.set_override(key, value).map_err(Error::Read)?;
        }
    }
    let merged = builder.build().map_err(Error::Read)?;
    let raw: Raw = serde_path_to_error::deserialize(merged).map_err(|error| Error::Shape {
        key: error.path().to_string(),
        problem: error.into_inner().to_string(),
    })?;
    parse::settings(raw)
}

/// Settings as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    connector_id: Option<String>,
    connector: Vec<RawConnector>,
    state_directory: Option<PathBuf>,
    database: RawDatabase,
    grpc: RawGrpc,
    http: RawHttp,
    aws: RawAws,
    sync: RawSync,
    access: RawAccess,
    retention: RawRetention,
    log: RawLog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConnector {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawDatabase {
    url: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    connections_max: Option<u32>,
    embedded_binaries: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawGrpc {
    listen: Option<String>,
    socket: Option<PathBuf>,
    tls: Option<String>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHttp {
    listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAws {
    rate_share: Option<f64>,
    identity_center_rate: Option<f64>,
    attempt_timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSync {
    groups_at_once: Option<u32>,
    groups_at_once_per_connector: Option<u32>,
    lease: Option<String>,
    heartbeat: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAccess {
    guardrails_file: Option<PathBuf>,
    on_removal: Option<String>,
    on_unkept_state: Option<String>,
    on_failover: Option<String>,
    management_account: Option<String>,
    untagged: Option<String>,
    assignments_at_once: Option<u32>,
    permission_sets_max: Option<u32>,
    permission_sets_in_account_max: Option<u32>,
    roles_in_account_max: Option<u32>,
    audit_interval: Option<String>,
    settling: Option<String>,
    propagation: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRetention {
    gone_resources: Option<String>,
    history: Option<String>,
    syncs: Option<String>,
    problems: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    format: Option<String>,
    filter: Option<String>,
}
