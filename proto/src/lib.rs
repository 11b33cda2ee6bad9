//! The connector's gRPC API, version 1: messages, clients and servers.
//!
//! A control plane depends on this crate alone; it knows nothing of the daemon.
//! The words are those of the `.proto` files beside it, which document every
//! message and field.

/// `apono.connector.v1`.
pub mod v1 {
    tonic::include_proto!("apono.connector.v1");

    /// The compiled `.proto` files, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
