//! Holds a removal that is too large to be believed at once.
//!
//! A complete list is proof, but proofs can be wrong in ways that we cannot see (a
//! role that was narrowed, an API that answers empty). So a removal is held when it
//! takes more than half of its scope, or when it brings what this sync has removed above
//! a tenth of the integration; either counts from [`ROWS_MIN`] rows on, since two of
//! three instances may go on any day. What is held goes by itself once three complete
//! reads in a row have missed it, each resource for itself: one that comes back starts
//! anew and holds up no other. An operator may release what is held; the next complete
//! read then takes it. What goes in these ways is not measured with the rest.

/// Rows that may always go at once.
pub const ROWS_MIN: usize = 20;
/// Complete reads in a row that release what they all missed.
pub const READS_TO_RELEASE: i16 = 3;

/// A removal that is about to happen.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    /// Rows about to go, without those that were held long enough.
    pub missing: usize,
    /// Live rows of their scope.
    pub scope_rows: usize,
    /// Rows that the sync has removed before, without those again.
    pub gone_before: usize,
    /// Live rows of the integration when the sync began.
    pub integration_rows: usize,
}

impl Removal {
    /// Whether it is held.
    #[must_use]
    pub fn is_held(self) -> bool {
        let of_scope = self.missing >= ROWS_MIN && self.missing * 2 > self.scope_rows;
        let all = self.missing + self.gone_before;
        of_scope || (all >= ROWS_MIN && all * 10 > self.integration_rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_held_by_its_share_of_the_scope_or_of_the_integration() {
        let table = [
            // Few rows always go.
            ((19, 19, 0, 19), false),
            // Less than half of the scope, less than a tenth of the integration.
            ((30, 100, 0, 1000), false),
            // More than half of the scope.
            ((60, 100, 0, 10_000), true),
            // A tenth of the integration, though little of its scope.
            ((40, 300, 0, 350), true),
            // Many small removals add up.
            ((5, 100, 94, 1000), false),
            ((7, 100, 94, 1000), true),
            ((5, 6, 10, 20), false),
        ];
        for ((missing, scope_rows, gone_before, integration_rows), held) in table {
            let removal = Removal { missing, scope_rows, gone_before, integration_rows };
            assert_eq!(removal.is_held(), held, "{removal:?}");
        }
    }
}
