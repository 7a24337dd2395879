//! Many jobs of one call, among those of others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use rayon::prelude::*;

use super::{alone_while, in_pool};

/// Jobs of a call that wait in the pool's queue or run, for each thread.
const AHEAD: usize = 2;
/// Jobs of a round, for each thread, where the caller is a thread of the pool.
const ROUND: usize = 4;

/// Runs a job for every item on the threads of the current rayon pool; results are in the order of the
/// items.
///
/// # Panics
/// If a job panics, once all that have begun are done.
pub(crate) fn map_jobs<I: Send, T: Send>(items: Vec<I>, job: impl Fn(I) -> T + Sync) -> Vec<T> {
    let threads = rayon::current_num_threads();
    let count = items.len();
    let begun = AtomicUsize::new(0);
    // The last jobs, half as many as threads, lead teams; each of the others has its thread for itself.
    let run = |item: I| {
        let left = count - begun.fetch_add(1, Ordering::Relaxed);
        if left <= (threads / 2).max(1) { in_pool(|| job(item)) } else { alone_while(|| job(item)) }
    };
    if rayon::current_thread_index().is_some() {
        in_rounds(items, threads, run)
    } else if count <= 1 {
        items.into_iter().map(run).collect()
    } else {
        in_turn(items, AHEAD * threads, run)
    }
}

/// Runs jobs from a thread of the pool.
fn in_rounds<I: Send, T: Send>(
    items: Vec<I>,
    threads: usize,
    run: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let mut results = Vec::with_capacity(items.len());
    let mut rest = items.into_iter();
    loop {
        let round: Vec<I> = rest.by_ref().take(ROUND * threads).collect();
        if round.is_empty() {
            return results;
        }
        if !results.is_empty() {
            // A call that waits for a thread gets this one.
            rayon::yield_now();
        }
        if threads == 1 {
            results.extend(round.into_iter().map(&run));
        } else {
            results.par_extend(round.into_par_iter().with_max_len(1).map(&run));
        }
    }
}

/// Runs jobs from another thread, which waits: no more than `most` of them are in the pool at a time, behind
/// those of other calls.
fn in_turn<I: Send, T: Send>(items: Vec<I>, most: usize, run: impl Fn(I) -> T + Sync) -> Vec<T> {
    let mut results: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let mut items = items.into_iter().enumerate();
    let (sender, receiver) = channel();
    rayon::in_place_scope(|scope| {
        let run = &run;
        let mut start = || {
            let (index, item) = items.next()?;
            let sender = sender.clone();
            scope.spawn(move |_| {
                let mut done = Done { sender, index, result: None };
                done.result = Some(run(item));
            });
            Some(())
        };
        let mut running = 0;
        while running < most && start().is_some() {
            running += 1;
        }
        while running > 0 {
            // There is a sender, so that this does not fail.
            let Ok((index, result)) = receiver.recv() else { break };
            // What panicked has no result, and the scope panics when the others are done.
            results[index] = result;
            if start().is_none() {
                running -= 1;
            }
        }
    });
    results.into_iter().flatten().collect()
}

/// Says that a job is done, also where it panics.
struct Done<T> {
    sender: std::sync::mpsc::Sender<(usize, Option<T>)>,
    index: usize,
    result: Option<T>,
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        // The receiver lives until all jobs are done.
        let _ = self.sender.send((self.index, self.result.take()));
    }
}

#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::super::{alone, team};
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn results_are_in_order() {
        for count in [0, 1, 2, 3, 100] {
            let items: Vec<String> = (0..count).map(|i| i.to_string()).collect();
            let job = |item: String| item + "!";
            let expected: Vec<String> = items.iter().map(|item| job(item.clone())).collect();
            assert_eq!(map_jobs(items.clone(), job), expected);
            for threads in [1, 2, 5] {
                let found = pool(threads).install(|| map_jobs(items.clone(), job));
                assert_eq!(found, expected, "{threads} threads");
            }
        }
    }

    #[test]
    fn the_last_jobs_lead_teams() {
        for threads in [2, 4] {
            let kinds = pool(threads).install(|| {
                map_jobs((0..20).collect(), |_: u32| {
                    assert_ne!(alone(), team::leads());
                    team::leads()
                })
            });
            let leaders = kinds.iter().filter(|leads| **leads).count();
            assert_eq!(leaders, threads / 2);
            assert!(!alone() && !team::leads());
        }
    }

    #[test]
    fn panics_reach_the_caller() {
        let jobs = || map_jobs((0..50).collect(), |i: u32| assert!(i != 17, "the job"));
        assert!(catch_unwind(AssertUnwindSafe(jobs)).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| pool(2).install(jobs))).is_err());
        assert_eq!(map_jobs(vec![1, 2, 3], |i: u32| i).len(), 3);
    }

    /// A call that comes while a long one is in work begins after at most a few of its jobs.
    #[test]
    fn a_short_call_does_not_wait_for_a_long_one() {
        const JOB: Duration = Duration::from_millis(4);
        const JOBS: usize = 400;
        let long_threads = rayon::current_num_threads().max(1);
        let (begun, late) = (AtomicUsize::new(0), AtomicBool::new(false));
        let at = Mutex::new(None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                map_jobs((0..JOBS).collect(), |_| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(JOB);
                });
                late.store(true, Ordering::Relaxed);
            });
            scope.spawn(|| {
                while begun.load(Ordering::Relaxed) < 4 * long_threads {
                    std::thread::sleep(JOB);
                }
                let before = begun.load(Ordering::Relaxed);
                let start = Instant::now();
                map_jobs(vec![()], |()| ());
                let waited = begun.load(Ordering::Relaxed) - before;
                *at.lock().unwrap() = Some((waited, start.elapsed(), late.load(Ordering::Relaxed)));
            });
        });
        let (jobs, time, late) = at.into_inner().unwrap().unwrap();
        // Two for each thread wait, two more may begin beside this call; tests share the pool.
        assert!(!late && jobs <= 8 * long_threads, "{jobs} jobs, {time:?}");
    }

    /// The same where the long call comes from a thread of the pool.
    #[test]
    fn a_short_call_gets_in_between_two_rounds() {
        for threads in [1, 2] {
            let pool = pool(threads);
            let begun = AtomicUsize::new(0);
            let waited = std::thread::scope(|scope| {
                scope.spawn(|| {
                    pool.install(|| {
                        map_jobs((0..100).collect(), |_: u32| {
                            begun.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(Duration::from_millis(4));
                        })
                    })
                });
                while begun.load(Ordering::Relaxed) < threads {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let before = begun.load(Ordering::Relaxed);
                pool.install(|| map_jobs(vec![()], |()| ()));
                begun.load(Ordering::Relaxed) - before
            });
            assert!(waited <= (ROUND + 2) * threads, "{waited} jobs of {threads} threads");
        }
    }
}
