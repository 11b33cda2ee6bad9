//! Holds a removal that is too large to be believed at once.
//!
//! A complete list is proof, but proofs can be wrong in ways that we cannot see (a
//! role that was narrowed, an API that answers empty). A removal of more than half
//! of a scope, or of a tenth of the integration, waits until three complete reads
//! in a row agree on it.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

/// Rows that may always go from a scope at once.
pub const ROWS_MIN: usize = 20;
/// Agreeing complete reads that release a held removal.
pub const READS_TO_RELEASE: i32 = 3;

/// What the reads so far agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Complete reads in a row that agreed.
    pub reads: i32,
    /// Digest of the keys that they agreed on.
    pub digest: Option<Vec<u8>>,
}

/// What to do with the rows that a complete read did not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They go.
    Remove,
    /// They stay; this is to be remembered.
    Hold(Held),
}

/// Judges a removal.
///
/// `missing` are the keys that are about to go, `scope_rows` the live rows of the
/// scope, `integration_rows` those of the integration.
#[must_use]
pub fn judge(
    missing: &BTreeSet<String>,
    scope_rows: usize,
    integration_rows: usize,
    before: &Held,
) -> Verdict {
    let large = missing.len() >= ROWS_MIN
        && (missing.len() * 2 > scope_rows || missing.len() * 10 > integration_rows);
    if !large {
        return Verdict::Remove;
    }
    let digest = digest(missing);
    let agreed = before.digest.as_deref() == Some(digest.as_slice());
    let reads = if agreed { before.reads + 1 } else { 1 };
    if reads >= READS_TO_RELEASE {
        Verdict::Remove
    } else {
        Verdict::Hold(Held { reads, digest: Some(digest) })
    }
}

fn digest(keys: &BTreeSet<String>) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for key in keys {
        hasher.update(key.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> BTreeSet<String> {
        (0..count).map(|n| n.to_string()).collect()
    }

    #[test]
    fn small_removals_pass_and_large_ones_wait_for_three_agreeing_reads() {
        let nothing = Held::default();
        assert_eq!(judge(&keys(19), 19, 19, &nothing), Verdict::Remove);
        assert_eq!(judge(&keys(30), 100, 1000, &nothing), Verdict::Remove);

        let Verdict::Hold(first) = judge(&keys(60), 100, 10_000, &nothing) else {
            panic!("more than half of a scope")
        };
        let Verdict::Hold(second) = judge(&keys(60), 100, 10_000, &first) else {
            panic!("two reads are not three")
        };
        assert_eq!(judge(&keys(60), 100, 10_000, &second), Verdict::Remove);
    }

    #[test]
    fn a_read_that_disagrees_starts_the_count_again() {
        let Verdict::Hold(first) = judge(&keys(60), 100, 100, &Held::default()) else {
            panic!("held")
        };
        let Verdict::Hold(other) = judge(&keys(61), 100, 100, &first) else { panic!("held") };
        assert_eq!(other.reads, 1);
    }

    #[test]
    fn a_tenth_of_the_integration_is_large_even_when_little_of_its_scope() {
        assert!(matches!(judge(&keys(40), 300, 350, &Held::default()), Verdict::Hold(_)));
    }
}
