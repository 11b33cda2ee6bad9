//! Acts under seals: a chain of digests (SHA-256), in which it shows when an act was changed, removed, put in or
//! moved. What tells of persons (the object and the details of an act) goes in by a salted digest of its own.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The bytes of a leaf: the number of an act, and its digest.
const LEAF_BYTES: usize = 8 + 32;

/// A digest.
pub type Digest = [u8; 32];

/// An act, as it is sealed.
#[derive(Clone, Debug)]
pub struct Act {
    /// Its number.
    pub number: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Its grant.
    pub grant_id: String,
    /// What happened.
    pub verb: String,
    /// Who did it.
    pub actor: String,
    /// To what.
    pub object: String,
    /// More.
    pub detail: String,
    /// Makes the digest of the last two differ from all others.
    pub salt: Uuid,
    /// That digest, where they were erased.
    pub erased: Option<Vec<u8>>,
}

impl Act {
    fn digest(&self, connector: &str) -> Digest {
        let personal = || {
            digest(&[self.salt.as_bytes(), self.object.as_bytes(), self.detail.as_bytes()]).to_vec()
        };
        // What was put in the place of what was erased is nobody's.
        let is_gone = self.object.is_empty() && self.detail.is_empty() && self.salt.is_nil();
        let personal = match &self.erased {
            None => personal(),
            Some(digest) if is_gone => digest.clone(),
            Some(_) => Vec::new(),
        };
        digest(&[
            connector.as_bytes(),
            &self.number.to_be_bytes(),
            &self.at.timestamp_micros().to_be_bytes(),
            self.grant_id.as_bytes(),
            self.verb.as_bytes(),
            self.actor.as_bytes(),
            &personal,
        ])
    }
}

/// A digest of texts, each with its length before it.
fn digest(parts: &[&[u8]]) -> Digest {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finalize().into()
}

/// A seal: what it holds of its acts, and the digest of that and of the seal before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// From 1.
    pub number: i64,
    /// A leaf for each act.
    pub leaves: Vec<u8>,
    /// Of the seal before and the leaves.
    pub digest: Digest,
}

/// The last seal of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0: there is none.
    pub number: i64,
    /// Its digest.
    pub digest: Digest,
}

impl Head {
    /// Before the first seal.
    pub const NONE: Self = Self { number: 0, digest: [0; 32] };

    /// The next seal, over these acts, in their order.
    #[must_use]
    pub fn seal(&self, connector: &str, acts: &[Act]) -> Seal {
        let leaf = |act: &Act| {
            let number = act.number.to_be_bytes();
            number.into_iter().chain(act.digest(connector))
        };
        let leaves: Vec<u8> = acts.iter().flat_map(leaf).collect();
        let number = self.number + 1;
        Seal { number, digest: self.chained(number, &leaves), leaves }
    }

    fn chained(&self, number: i64, leaves: &[u8]) -> Digest {
        digest(&[&self.digest, &number.to_be_bytes(), leaves])
    }

    /// The head that a seal makes of this one, and its acts, as they stand now; else what is wrong first.
    ///
    /// # Errors
    ///
    /// When the chain, or an act, is not as it was sealed.
    pub fn verify(&self, connector: &str, seal: &Seal, acts: &[Act]) -> Result<Self, Broken> {
        let Seal { number, leaves, digest } = seal;
        if *number != self.number + 1 {
            return Err(Broken { seal: self.number + 1, act: None, how: How::SealMissing });
        }
        if self.chained(*number, leaves) != *digest {
            return Err(Broken { seal: *number, act: None, how: How::SealChanged });
        }
        let mut there: BTreeMap<i64, Digest> =
            acts.iter().map(|act| (act.number, act.digest(connector))).collect();
        for leaf in leaves.chunks_exact(LEAF_BYTES) {
            let (act, sealed) = leaf.split_at(8);
            let act = i64::from_be_bytes(act.try_into().unwrap_or_default());
            let how = match there.remove(&act) {
                None => How::ActMissing,
                Some(found) if found.as_slice() != sealed => How::ActChanged,
                Some(_) => continue,
            };
            return Err(Broken { seal: *number, act: Some(act), how });
        }
        if let Some((act, _)) = there.pop_first() {
            return Err(Broken { seal: *number, act: Some(act), how: How::ActPutIn });
        }
        Ok(Self { number: *number, digest: *digest })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, hex::encode(self.digest))
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (number, digest) = text.split_once(':')?;
            let digest = hex::decode(digest).ok()?.try_into().ok()?;
            let number = number.parse().ok().filter(|number| *number > 0)?;
            Some(Self { number, digest })
        };
        read().ok_or_else(|| {
            format!("{text:?} is no head; it is a number, a colon and 64 hexadecimal digits")
        })
    }
}

/// How a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A seal is not there.
    SealMissing,
    /// A seal is not what it was.
    SealChanged,
    /// An act is not there.
    ActMissing,
    /// An act is not what it was.
    ActChanged,
    /// An act was put in.
    ActPutIn,
}

/// Where a chain is broken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The seal.
    pub seal: i64,
    /// The act; none: the seal itself.
    pub act: Option<i64>,
    /// How.
    pub how: How,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seal, act, how } = self;
        let act = act.unwrap_or_default();
        match how {
            How::SealMissing => write!(f, "seal {seal} is missing"),
            How::SealChanged => write!(f, "seal {seal} was changed, or the one before it"),
            How::ActMissing => write!(f, "act {act} of seal {seal} is missing"),
            How::ActChanged => write!(f, "act {act} of seal {seal} was changed"),
            How::ActPutIn => write!(f, "act {act} was put under seal {seal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(number: i64) -> Act {
        Act {
            number,
            at: DateTime::from_timestamp(1_800_000_000 + number, 0).expect("a time"),
            grant_id: "g1".to_owned(),
            verb: "CALL".to_owned(),
            actor: "connector".to_owned(),
            object: format!("object {number}"),
            detail: String::new(),
            salt: Uuid::from_u128(7),
            erased: None,
        }
    }

    /// Two seals, of three and two acts.
    fn chain() -> (Vec<Seal>, Vec<Vec<Act>>) {
        let acts = vec![vec![act(1), act(2), act(4)], vec![act(3), act(5)]];
        let first = Head::NONE.seal("c", &acts[0]);
        let head = Head { number: first.number, digest: first.digest };
        let second = head.seal("c", &acts[1]);
        (vec![first, second], acts)
    }

    fn verified(seals: &[Seal], acts: &[Vec<Act>]) -> Result<Head, Broken> {
        let mut both = seals.iter().zip(acts);
        both.try_fold(Head::NONE, |head, (seal, acts)| head.verify("c", seal, acts))
    }

    fn broken(change: impl FnOnce(&mut Vec<Seal>, &mut Vec<Vec<Act>>)) -> String {
        let (mut seals, mut acts) = chain();
        change(&mut seals, &mut acts);
        verified(&seals, &acts).expect_err("it is broken").to_string()
    }

    #[test]
    fn a_chain_that_nobody_touched_is_whole() {
        let (seals, acts) = chain();
        let head = verified(&seals, &acts).expect("a head");
        assert_eq!(head.number, 2);
        assert_eq!(head.to_string().parse(), Ok(head));
        for nonsense in ["2:ab", "x", &Head::NONE.to_string()] {
            assert!(nonsense.parse::<Head>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn whatever_is_done_to_it_is_found_and_named() {
        for (change, says) in [
            (
                (|_, acts| acts[0][1].detail.push('x')) as fn(&mut Vec<Seal>, &mut Vec<Vec<Act>>),
                "act 2 of seal 1 was changed",
            ),
            (|_, acts| acts[0][1].salt = Uuid::nil(), "act 2 of seal 1 was changed"),
            (|_, acts| acts[1][0].actor = "ann".to_owned(), "act 3 of seal 2 was changed"),
            (
                |_, acts| {
                    acts[0].remove(2);
                },
                "act 4 of seal 1 is missing",
            ),
            (|_, acts| acts[1].push(act(6)), "act 6 was put under seal 2"),
            (
                |_, acts| {
                    let (a, b) = (acts[0][0].number, acts[0][1].number);
                    acts[0][0].number = b;
                    acts[0][1].number = a;
                },
                "act 1 of seal 1 was changed",
            ),
            (|_, acts| acts.swap(0, 1), "act 1 of seal 1 is missing"),
            (
                |seals, acts| {
                    seals.remove(0);
                    acts.remove(0);
                },
                "seal 1 is missing",
            ),
            (|seals, _| seals[0].leaves[20] ^= 1, "seal 1 was changed, or the one before it"),
        ] {
            assert_eq!(broken(change), says);
        }
        // Who seals anew what they have changed changes every seal from there on.
        let forged = broken(|seals, acts| {
            acts[0][1].detail.push('x');
            seals[0] = Head::NONE.seal("c", &acts[0]);
        });
        assert_eq!(forged, "seal 2 was changed, or the one before it");
    }

    #[test]
    fn to_erase_is_not_to_change_and_to_write_over_it_is() {
        let whole = act(1);
        let seal = Head::NONE.seal("c", std::slice::from_ref(&whole));
        let personal = [whole.salt.as_bytes(), whole.object.as_bytes(), whole.detail.as_bytes()];
        let erased = Act {
            object: String::new(),
            salt: Uuid::nil(),
            erased: Some(digest(&personal).to_vec()),
            ..whole
        };
        assert!(Head::NONE.verify("c", &seal, std::slice::from_ref(&erased)).is_ok());
        let forged = Act { detail: "nothing".to_owned(), ..erased.clone() };
        let found = Head::NONE.verify("c", &seal, &[forged]).map_err(|broken| broken.how);
        assert_eq!(found, Err(How::ActChanged));
        let other = Act { erased: Some(vec![0; 32]), ..erased };
        assert!(Head::NONE.verify("c", &seal, &[other]).is_err());
    }

    #[test]
    fn parts_are_told_apart() {
        let one = Act { object: "ab".to_owned(), detail: "c".to_owned(), ..act(1) };
        let other = Act { object: "a".to_owned(), detail: "bc".to_owned(), ..act(1) };
        assert_ne!(one.digest("c"), other.digest("c"));
        assert_ne!(one.digest("c"), one.digest("d"));
    }
}
