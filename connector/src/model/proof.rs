//! Proof of absence.
//!
//! What AWS does not list is gone only if the list was read to its end: a time-out
//! must never look like an empty account. So nothing here takes a boolean. A
//! [`Complete`] is made in one place, by the page loop that met the last page, and
//! the store removes resources only when it is handed one.
//!
//! Invariant: a `Complete` owns every key that its loop saw, and names what it speaks
//! for: a scope with generation and fence, or the whole organization. An interrupted
//! loop is dropped and starts again from the first page; its tokens are not kept.
//!
//! Keys are kept as digests, so that half a million of them fit into a few megabytes. Two
//! keys with one digest could only make a thing that has gone look as if it were there.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::scope::Scope;

/// Pages that a loop reads before it gives up: at 100 items a page, ten million.
pub const PAGES_MAX: usize = 100_000;

/// Stands for a key: the first 16 bytes of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyDigest(u128);

impl KeyDigest {
    /// The digest of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let hash = Sha256::digest(key);
        Self(hash.iter().take(16).fold(0, |digest, byte| digest << 8 | u128::from(*byte)))
    }
}

/// Where the next page begins; opaque to all but the collector that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageToken(pub String);

impl PageToken {
    /// The token of an answer: AWS ends a list with no token or with an empty one.
    #[must_use]
    pub fn of(answer: Option<&str>) -> Option<Self> {
        answer.filter(|token| !token.is_empty()).map(|token| Self(token.to_owned()))
    }
}

/// The list does not come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Endless {
    /// A token came twice: the same pages would follow for ever.
    #[error("the same page token came twice")]
    Repeats,
    /// There are more pages than anybody has.
    #[error("there are more than {PAGES_MAX} pages")]
    TooMany,
}

/// The loop over the pages of `S`, between two of them.
#[derive(Debug)]
pub struct PageLoop<S = Scope> {
    scope: S,
    seen: HashSet<KeyDigest>,
    tokens: HashSet<PageToken>,
}

/// What follows a page.
#[derive(Debug)]
pub enum Next<S = Scope> {
    /// Another page, from this token.
    More(PageLoop<S>, PageToken),
    /// That was the last one.
    End(Complete<S>),
}

impl<S> PageLoop<S> {
    /// Begins with the first page.
    #[must_use]
    pub fn start(scope: S) -> Self {
        Self { scope, seen: HashSet::new(), tokens: HashSet::new() }
    }

    /// What is read.
    #[must_use]
    pub fn scope(&self) -> &S {
        &self.scope
    }

    /// Takes in one page: the keys on it, and the token that came with it. An empty
    /// page with a token is not the end.
    ///
    /// # Errors
    ///
    /// When the list does not come to an end.
    pub fn page(
        mut self,
        keys: impl IntoIterator<Item = KeyDigest>,
        next: Option<PageToken>,
    ) -> Result<Next<S>, Endless> {
        self.seen.extend(keys);
        let Some(token) = next else {
            return Ok(Next::End(Complete { scope: self.scope, seen: self.seen }));
        };
        if !self.tokens.insert(token.clone()) {
            return Err(Endless::Repeats);
        }
        if self.tokens.len() >= PAGES_MAX {
            return Err(Endless::TooMany);
        }
        Ok(Next::More(self, token))
    }
}

/// The proof that `S` was read from its first page to its last.
///
/// Only [`PageLoop::page`] makes one:
///
/// ```compile_fail
/// use connector::model::{proof::Complete, scope::Scope};
/// fn forge(scope: Scope) -> Complete {
///     Complete { scope, seen: Default::default() }
/// }
/// ```
#[derive(Debug)]
pub struct Complete<S = Scope> {
    scope: S,
    seen: HashSet<KeyDigest>,
}

impl<S> Complete<S> {
    /// What was read.
    #[must_use]
    pub fn scope(&self) -> &S {
        &self.scope
    }

    /// Whether a key was on one of its pages.
    #[must_use]
    pub fn saw(&self, key: KeyDigest) -> bool {
        self.seen.contains(&key)
    }

    /// How many keys were on its pages.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{
        ids::{IntegrationId, ReplicaId, SyncId},
        scope::{Group, Place},
    };

    pub(crate) fn a_scope() -> Scope {
        let id = uuid::Uuid::nil();
        Scope {
            group: Group {
                connector: "acme".parse().expect("an id"),
                integration: IntegrationId(id),
                sync: SyncId(id),
                generation: 1,
                settings_version: 1,
                place: Place::Account("123456789012".parse().expect("an id")),
                owner: ReplicaId(id),
                fence: 1,
            },
            collector: "ec2",
        }
    }

    fn token(text: &str) -> Option<PageToken> {
        PageToken::of(Some(text))
    }

    #[test]
    fn only_the_last_page_ends_the_loop_and_the_proof_owns_all_keys() {
        let walk = PageLoop::start(a_scope());
        let key = KeyDigest::of;
        let Next::More(walk, _) = walk.page([key("a")], token("1")).expect("goes on") else {
            panic!("a page with a token is not the last")
        };
        let Next::More(walk, _) = walk.page([], token("2")).expect("goes on") else {
            panic!("an empty page with a token is not the last")
        };
        let Next::End(proof) = walk.page([key("b")], None).expect("ends") else {
            panic!("no token: the end")
        };
        assert!(proof.saw(key("a")) && proof.saw(key("b")) && !proof.saw(key("c")));
        assert_eq!(proof.seen(), 2);
    }

    #[test]
    fn a_token_that_comes_twice_is_an_error_not_an_end() {
        let Next::More(walk, _) = PageLoop::start(a_scope()).page([], token("1")).expect("goes on")
        else {
            panic!("not the last")
        };
        assert_eq!(walk.page([], token("1")).expect_err("endless"), Endless::Repeats);
    }

    #[test]
    fn an_empty_token_is_no_token() {
        assert_eq!(PageToken::of(Some("")), None);
    }
}
