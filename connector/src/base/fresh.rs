//! A value that several ask for at once, each wanting one that is newer than the question, or not
//! much older.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

/// The value as it was fetched last. One fetch runs at a time; whoever asks meanwhile waits for
/// the next one, and shares it with all others who asked before it began.
#[derive(Debug)]
pub struct Fresh<T>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Fresh<T> {
    /// The value, from a fetch that began after the call, or not longer before it than `age` says of
    /// what was fetched.
    ///
    /// # Errors
    ///
    /// When the fetch fails; whoever else waits fetches by itself.
    pub async fn get<E>(
        &self,
        age: impl FnOnce(&T) -> Duration,
        fetch: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let asked = Instant::now();
        let mut held = self.0.lock().await;
        if let Some((begun, value)) = &*held
            && *begun + age(value) >= asked
        {
            return Ok(Arc::clone(value));
        }
        let begun = Instant::now();
        let value = Arc::new(fetch().await?);
        *held = Some((begun, Arc::clone(&value)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicU32, Ordering},
    };

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_a_fetch_runs_shares_the_next_one() {
        let (fresh, fetches, gate) = (Fresh::default(), AtomicU32::new(0), Semaphore::new(0));
        let get = || {
            fresh.get(
                |_| Duration::ZERO,
                async || {
                    gate.acquire().await.expect("a gate").forget();
                    Ok::<_, Infallible>(fetches.fetch_add(1, Ordering::SeqCst))
                },
            )
        };
        // Polled in this order: the first fetch waits at the gate when the others ask.
        let open = async || gate.add_permits(2);
        let (first, second, third, ()) = tokio::join!(get(), get(), get(), open());
        assert_eq!(*first.expect("a value"), 0);
        assert_eq!(*second.expect("a value"), 1);
        assert_eq!(*third.expect("a value"), 1);
        gate.add_permits(1);
        assert_eq!(*get().await.expect("a value"), 2, "an old one is not for who asks now");
        let old = fresh.get(|_| Duration::from_mins(1), async || Ok::<_, Infallible>(3)).await;
        assert_eq!(*old.expect("a value"), 2, "but for who can do with it");
    }
}
