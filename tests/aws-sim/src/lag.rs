//! IAM is eventually consistent: what is changed shows a while later to those who read, and in what it
//! allows. Whoever changes something is judged by the newest state.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// What shows of things that have just changed, by their names.
#[derive(Clone, Debug)]
pub(crate) struct Showing<K, V>(BTreeMap<K, Vec<State<V>>>);

/// What shows of a thing from some time on.
#[derive(Clone, Debug)]
struct State<V> {
    since: DateTime<Utc>,
    /// None: there is none.
    value: Option<V>,
}

impl<K, V> Default for Showing<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V: Clone> Showing<K, V> {
    /// A thing as it shows now.
    pub(crate) fn get<'a>(
        &'a self,
        newest: &'a BTreeMap<K, V>,
        name: &K,
        now: DateTime<Utc>,
    ) -> Option<&'a V> {
        let Some(states) = self.0.get(name) else { return newest.get(name) };
        states.iter().rev().find(|state| state.since <= now)?.value.as_ref()
    }

    /// The things that show now.
    pub(crate) fn all<'a>(
        &'a self,
        newest: &'a BTreeMap<K, V>,
        now: DateTime<Utc>,
    ) -> Vec<(&'a K, &'a V)> {
        let mut names: Vec<&K> = newest.keys().chain(self.0.keys()).collect();
        names.sort();
        names.dedup();
        let shown = names.into_iter().map(|name| Some((name, self.get(newest, name, now)?)));
        shown.flatten().collect()
    }

    /// Puts a thing in another's place, to show after a lag; none: takes it away.
    pub(crate) fn set(
        &mut self,
        newest: &mut BTreeMap<K, V>,
        (name, value): (&K, Option<V>),
        at: DateTime<Utc>,
        lag: TimeDelta,
    ) {
        // Of what has come to show, nothing else need be known than that it is the newest.
        self.0.retain(|_, states| states.last().is_some_and(|last| last.since > at));
        if lag.is_zero() {
            self.0.remove(name);
        } else {
            let before = newest.get(name).cloned();
            let states = self
                .0
                .entry(name.clone())
                .or_insert_with(|| vec![State { since: at, value: before }]);
            states.push(State { since: at + lag, value: value.clone() });
        }
        match value {
            Some(value) => newest.insert(name.clone(), value),
            None => newest.remove(name),
        };
    }

    /// The names of what shows otherwise than it is.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<&K> {
        self.0.keys().collect()
    }
}
