//! Where a follower of changes stands, and whether it can go on from there.
//!
//! A feed is read in the order of (revision, ARN). Resources that have gone stay in it
//! until they are purged; the feed's *horizon* is the highest revision that a purge has
//! taken something from. A follower that stands before the horizon may have missed that
//! something is gone, so it has to begin again with a snapshot.

use std::{fmt, str::FromStr};

/// A place in a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Everything before this revision was sent.
    pub revision: i64,
    /// Of this revision itself, what comes up to this ARN; none: all of it.
    pub arn: Option<String>,
    /// The horizon when the place was last known to be good.
    pub horizon: i64,
    /// While a snapshot is sent, the revision with which it began.
    pub snapshot: Option<i64>,
}

/// The cursor is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor of this feed")]
pub struct Malformed;

impl Cursor {
    /// The beginning of a snapshot of a feed that has come this far.
    #[must_use]
    pub fn start(revision: i64, horizon: i64) -> Self {
        Self { revision: 0, arn: None, horizon, snapshot: Some(revision) }
    }

    /// Whether nothing was purged that a follower at this place has yet to hear of.
    #[must_use]
    pub fn is_good(&self, horizon: i64) -> bool {
        // Nothing at all was purged since the place was good, ...
        horizon == self.horizon
            // ... or only what the follower has heard of already.
            || self.revision > horizon
            || (self.revision == horizon && self.arn.is_none() && self.snapshot.is_none())
            // ... or what went before a snapshot began, of which it never speaks.
            || self.snapshot.is_some_and(|start| horizon <= start)
    }

    /// Resources that have gone are sent if they went after this revision: a snapshot
    /// need not speak of those that a follower never held.
    #[must_use]
    pub fn gone_after(&self) -> i64 {
        self.snapshot.unwrap_or(0)
    }

    /// Behind a page that ended amid a revision.
    #[must_use]
    pub fn amid(&self, revision: i64, arn: &str, horizon: i64) -> Self {
        Self { revision, arn: Some(arn.to_owned()), horizon, snapshot: self.snapshot }
    }

    /// Behind everything up to a revision.
    #[must_use]
    pub fn behind(revision: i64, horizon: i64) -> Self {
        Self { revision, arn: None, horizon, snapshot: None }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot.map_or_else(String::new, |revision| revision.to_string());
        write!(f, "{} {} {snapshot} ", self.revision, self.horizon)?;
        f.write_str(self.arn.as_deref().unwrap_or_default())
    }
}

impl FromStr for Cursor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.splitn(4, ' ');
        let mut part = || parts.next().ok_or(Malformed);
        let number = |text: &str| match text.parse() {
            Ok(number) if number >= 0_i64 => Ok(number),
            _ => Err(Malformed),
        };
        let (revision, horizon) = (number(part()?)?, number(part()?)?);
        let snapshot = match part()? {
            "" => None,
            revision => Some(number(revision)?),
        };
        let arn = Some(part()?).filter(|arn| !arn.is_empty()).map(str::to_owned);
        Ok(Self { revision, arn, horizon, snapshot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back() {
        for cursor in
            [Cursor::start(7, 3), Cursor::behind(9, 3), Cursor::start(7, 3).amid(5, "arn:x y", 3)]
        {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "1", "1 2", "1 2 3", "-1 2  ", "a b  "] {
            assert_eq!(text.parse::<Cursor>(), Err(Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_place_is_good_while_nothing_was_purged_that_it_has_yet_to_hear_of() {
        let table = [
            (Cursor::behind(9, 3), 3, true),
            (Cursor::behind(9, 3), 9, true),
            (Cursor::behind(9, 3), 10, false),
            // Amid a revision, the rest of it may be what was purged.
            (Cursor::behind(8, 3).amid(9, "arn:b", 3), 9, false),
            (Cursor::behind(8, 3).amid(9, "arn:b", 3), 8, true),
            // A snapshot passes what was purged before it began, and nothing else.
            (Cursor::start(20, 3), 3, true),
            (Cursor::start(20, 3).amid(2, "arn:b", 3), 3, true),
            (Cursor::start(20, 3).amid(2, "arn:b", 3), 15, true),
            (Cursor::start(20, 3).amid(2, "arn:b", 3), 20, true),
            (Cursor::start(20, 3).amid(2, "arn:b", 3), 21, false),
        ];
        for (cursor, horizon, is_good) in table {
            assert_eq!(cursor.is_good(horizon), is_good, "{cursor:?} at {horizon}");
        }
    }
}
