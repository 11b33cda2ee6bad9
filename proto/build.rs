//! Compiles the `.proto` files without a system `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 7] = [
    "proto/apono/connector/v1/access.proto",
    "proto/apono/connector/v1/audit.proto",
    "proto/apono/connector/v1/catalog.proto",
    "proto/apono/connector/v1/integration.proto",
    "proto/apono/connector/v1/inventory.proto",
    "proto/apono/connector/v1/operations.proto",
    "proto/apono/connector/v1/sync.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(descriptors, files.encode_to_vec())?;
    // Messages know their names, so that clients can print them as JSON by reflection.
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(files, config)?;
    Ok(())
}
