//! Floor 0: what every room stands on, without a word of the domain.
//!
//! Time, chance and the wish to stop come through these doors and through no
//! other, so that tests can hold them (`clippy.toml` bans the side entrances).

pub mod activator;
pub mod backoff;
pub mod chain;
pub mod chance;
pub mod clock;
pub mod fresh;
pub mod stopper;
