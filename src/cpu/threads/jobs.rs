//! Many jobs of one call, among those of others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

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
    let slots: Vec<Slot<I, T>> = items.into_iter().map(Slot::new).collect();
    run_jobs(slots.len(), &|index| slots[index].run(&job));
    slots.into_iter().filter_map(Slot::into_result).collect()
}

/// The item of a job until it begins, and its result when it is done.
struct Slot<I, T> {
    item: Mutex<Option<I>>,
    result: Mutex<Option<T>>,
}

impl<I, T> Slot<I, T> {
    fn new(item: I) -> Self {
        Slot { item: Mutex::new(Some(item)), result: Mutex::new(None) }
    }

    fn run(&self, job: impl Fn(I) -> T) {
        // No lock is held while a job runs, so that none is poisoned.
        let item = self.item.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = item.map(job);
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = result;
    }

    fn into_result(self) -> Option<T> {
        self.result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `job` for `0..count`. Virtual calls, so that rayon's code is built once.
fn run_jobs(count: usize, job: &(dyn Fn(usize) + Sync)) {
    let threads = rayon::current_num_threads();
    let begun = AtomicUsize::new(0);
    // The last jobs, half as many as threads, lead teams; each of the others has its thread for itself.
    let run = |index: usize| {
        let left = count - begun.fetch_add(1, Ordering::Relaxed);
        if left <= (threads / 2).max(1) {
            in_pool(|| job(index));
        } else {
            alone_while(|| job(index));
        }
    };
    if rayon::current_thread_index().is_some() {
        in_rounds(count, threads, &run);
    } else if count <= 1 {
        (0..count).for_each(run);
    } else {
        in_turn(count, AHEAD * threads, &run);
    }
}

/// Runs jobs from a thread of the pool.
fn in_rounds(count: usize, threads: usize, run: &(dyn Fn(usize) + Sync)) {
    let size = ROUND * threads;
    for start in (0..count).step_by(size) {
        if start > 0 {
            // A call that waits for a thread gets this one.
            rayon::yield_now();
        }
        let round = start..count.min(start + size);
        if threads == 1 {
            round.for_each(run);
        } else {
            round.into_par_iter().with_max_len(1).for_each(run);
        }
    }
}

/// Runs jobs from another thread, which waits: no more than `most` of them are in the pool at a time, behind
/// those of other calls.
fn in_turn(count: usize, most: usize, run: &(dyn Fn(usize) + Sync)) {
    let mut next = 0..count;
    let (sender, receiver) = channel();
    rayon::in_place_scope(|scope| {
        let mut start = || {
            let index = next.next()?;
            let done = Done(sender.clone());
            scope.spawn(move |_| {
                let _done = done;
                run(index);
            });
            Some(())
        };
        let mut running = 0;
        while running < most && start().is_some() {
            running += 1;
        }
        // There is a sender, so that receiving does not fail. Where a job panicked, the scope does when the
        // others are done.
        while running > 0 && receiver.recv().is_ok() {
            if start().is_none() {
                running -= 1;
            }
        }
    });
}

/// Says that a job is done, also where it panics.
struct Done(Sender<()>);

impl Drop for Done {
    fn drop(&mut self) {
        // The receiver lives until all jobs are done.
        let _ = self.0.send(());
    }
}

#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
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
