//! Random values from the operating system.

use rand::{RngExt as _, TryRng as _, rngs::SysRng};
use uuid::Uuid;

/// A random UUID (version 4).
#[must_use]
pub fn uuid() -> Uuid {
    Uuid::new_v4()
}

/// A number from 0 up to, but not including, 1; for jitter.
#[must_use]
pub fn fraction() -> f64 {
    rand::rng().random()
}

/// `N` bytes that nobody can guess.
///
/// # Panics
///
/// When the operating system has no randomness to give: nothing secret can be
/// made then.
#[must_use]
pub fn secret<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
