//! Spreading tasks over the current rayon pool, without waiting for threads that do not run.
//!
//! An operation takes a fraction of a millisecond and ends when its last task does. If another
//! process keeps a core busy, a worker that shares that core is stopped for milliseconds in the
//! middle of a task, again and again, and everybody waits: two threads become slower than one. So
//! the time from the caller's last task to that of the slowest thread is watched. If it is far beyond a
//! task's and most of the operation's, the next operations run on the calling thread alone, for a
//! while that doubles as long as the trouble lasts. What a waiting thread does meanwhile does not
//! count: it may run a job of another operation, which says nothing about this one.
//!
//! What a task computes depends on its number alone: results are the same however tasks are spread.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{alone, team};
use crate::system::clock;

/// Waiting longer than this for the others means that one of them does not run. (Tasks take about
/// a tenth of it.)
const PATIENCE: Duration = Duration::from_micros(700);
/// How long to stay alone after the first such wait, and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_millis(1280);
/// Operations in a row without such a wait after which the trouble is over.
const OPERATIONS_TO_RESET_BACK_OFF: u64 = 400;

/// What is known about the pool's threads. Races between readers and writers cost a little time at
/// the worst: nothing but speed depends on it.
struct Watch {
    /// Microseconds of the clock until which operations stay on one thread.
    alone_until: AtomicU64,
    /// Microseconds of the next pause.
    pause: AtomicU64,
    /// Operations since the last long wait.
    calm: AtomicU64,
}

static WATCH: Watch = Watch::new();

/// Microseconds of the clock. Where it stands still there are no threads: nothing is watched.
fn now() -> u64 {
    clock().as_micros() as u64
}

impl Watch {
    const fn new() -> Self {
        Watch {
            alone_until: AtomicU64::new(0),
            pause: AtomicU64::new(SHORTEST_PAUSE.as_micros() as u64),
            calm: AtomicU64::new(0),
        }
    }

    fn alone(&self) -> bool {
        now() < self.alone_until.load(Ordering::Relaxed)
    }

    /// `time` was spent waiting at the end of an operation that took `total`.
    fn waited(&self, time: Duration, total: Duration) {
        if time > PATIENCE && 2 * time > total {
            let pause = self.pause.load(Ordering::Relaxed);
            self.alone_until.store(now() + pause, Ordering::Relaxed);
            let longest = MAX_PAUSE.as_micros() as u64;
            self.pause.store((2 * pause).min(longest), Ordering::Relaxed);
            self.calm.store(0, Ordering::Relaxed);
        } else if self.calm.fetch_add(1, Ordering::Relaxed) == OPERATIONS_TO_RESET_BACK_OFF {
            self.pause.store(SHORTEST_PAUSE.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

/// Runs `task` for `0..count`, on the threads of the current rayon pool.
///
/// A task takes microseconds, so a virtual call costs nothing; rayon's code is built once, not once a task.
pub(in crate::cpu) fn parallel(count: usize, task: &(dyn Fn(usize) + Sync)) {
    let threads = rayon::current_num_threads().min(count);
    if threads <= 1 || alone() || WATCH.alone() {
        (0..count).for_each(task);
        return;
    }
    let with_team = team::with_leader(|leader| leader.spread(count, task));
    let (waited, total) = with_team.unwrap_or_else(|| spread(threads, count, task));
    WATCH.waited(waited, total);
}

/// Runs `task` for `0..count` on `threads` threads; returns how long the others took after this one
/// had no tasks left, and how long all took.
fn spread(threads: usize, count: usize, task: &(dyn Fn(usize) + Sync)) -> (Duration, Duration) {
    let start = now();
    let next = AtomicUsize::new(0);
    // When the last thread had no tasks left.
    let end = AtomicU64::new(start);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            task(index);
        }
        let done = now();
        end.fetch_max(done, Ordering::Relaxed);
        done
    };
    let (done, ()) = rayon::join(work, || invite(threads - 2, &work));
    let end = end.into_inner();
    (Duration::from_micros(end - done), Duration::from_micros(end - start))
}

/// Runs `work` here and on up to `others` more threads. A job that nobody has taken by the end is
/// run by its maker, who finds nothing left to do.
fn invite(others: usize, work: &(dyn Fn() -> u64 + Sync)) {
    if others == 0 {
        work();
    } else {
        rayon::join(work, || invite(others - 1, work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "no threads")]
    fn every_task_once() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                for count in [0, 1, 2, 3, 64, 1000] {
                    let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                    parallel(count, &|i| {
                        runs[i].fetch_add(1, Ordering::Relaxed);
                    });
                    let once = runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1);
                    assert!(once, "{count} tasks on {threads} threads");
                }
            });
        }
    }

    /// While a thread waits for the others, it may run a job that has nothing to do with the
    /// operation.
    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "no threads")]
    fn foreign_jobs_are_not_waiting() {
        let foreign = Duration::from_millis(200);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (started, running) = (AtomicUsize::new(0), std::sync::Arc::new(AtomicUsize::new(0)));
        let wait_for = |counter: &AtomicUsize, count| {
            while counter.load(Ordering::Acquire) < count {
                std::thread::yield_now();
            }
        };
        let (waited, total) = pool.install(|| {
            let caller = std::thread::current().id();
            spread(2, 2, &|_| {
                started.fetch_add(1, Ordering::AcqRel);
                wait_for(&started, 2);
                if std::thread::current().id() != caller {
                    // The caller has no task left: it takes this job.
                    let running = running.clone();
                    rayon::spawn({
                        let running = running.clone();
                        move || {
                            running.store(1, Ordering::Release);
                            std::thread::sleep(foreign);
                        }
                    });
                    wait_for(&running, 1);
                }
            })
        });
        assert!(waited <= total && total < foreign / 2, "{waited:?} of {total:?}");
    }

    #[test]
    fn long_waits_lead_to_pauses() {
        let watch = Watch::new();
        watch.waited(PATIENCE / 2, PATIENCE);
        watch.waited(PATIENCE * 2, PATIENCE * 5);
        assert!(!watch.alone());
        watch.waited(PATIENCE * 2, PATIENCE * 3);
        assert!(watch.alone());
        for _ in 0..20 {
            watch.waited(PATIENCE * 2, PATIENCE * 3);
        }
        assert_eq!(watch.pause.load(Ordering::Relaxed), MAX_PAUSE.as_micros() as u64);
        for _ in 0..=OPERATIONS_TO_RESET_BACK_OFF {
            watch.waited(PATIENCE / 2, PATIENCE);
        }
        assert_eq!(watch.pause.load(Ordering::Relaxed), SHORTEST_PAUSE.as_micros() as u64);
    }
}
