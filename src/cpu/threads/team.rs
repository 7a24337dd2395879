//! A thread and others that help it with many operations in a row.
//!
//! An operation of a network takes some ten microseconds. To wake a sleeping thread takes as long, and in a
//! virtual machine several times as long. So helpers stay: while the leader is between two operations, they
//! spin. One that finds nothing to do for a while leaves, and is invited again with the next operation.
//! Whoever comes late takes part in what is left.
//!
//! Tasks that follow each other mostly write to neighbouring memory, and parts of it share cache lines. So each
//! member has a range of them, the same share in every operation, and takes those of others last.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use super::handover::{Leader, MAX_MEMBERS, Patience, SPINS, Team};
use crate::system::clock;

/// How long a helper waits for an operation.
const PATIENCE: Duration = Duration::from_micros(100);

/// CPUs that this process may use: helpers that spin must not take those of others.
static CPUS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));

/// [`PATIENCE`] since the last operation.
struct Idle {
    since: Duration,
    spins: usize,
}

impl Idle {
    fn new() -> Self {
        Idle { since: clock(), spins: 0 }
    }
}

impl Patience for Idle {
    fn is_over(&mut self) -> bool {
        self.spins += 1;
        self.spins.is_multiple_of(SPINS) && clock() - self.since > PATIENCE
    }

    fn renew(&mut self) {
        self.since = clock();
    }
}

thread_local! {
    /// The team that this thread leads.
    static LED: Cell<Option<NonNull<Leader<'static>>>> = const { Cell::new(None) };
}

/// Runs `operations` on a thread of the current rayon pool, as the leader of a team.
pub(super) fn lead<T: Send>(operations: impl FnOnce() -> T + Send) -> T {
    lead_with(rayon::current_num_threads().min(*CPUS).min(MAX_MEMBERS) - 1, operations)
}

/// The same with at most so many helpers.
fn lead_with<T: Send>(most: usize, operations: impl FnOnce() -> T + Send) -> T {
    let team = Team::new();
    rayon::scope(|scope| {
        let (team, invited) = (&team, AtomicUsize::new(0));
        let invite = || {
            let member = 1 + invited.fetch_add(1, Ordering::Relaxed) % most.max(1);
            scope.spawn(move |_| team.help(member, &mut Idle::new()));
        };
        let result = Leader::new(team, most, &invite).run(operations);
        // At the end of its scope a thread would look for any other work, and the result would wait for that. The
        // latest jobs of this thread are the invitations.
        team.dismiss(|| _ = rayon::yield_local());
        result
    })
}

/// Whether this thread leads a team.
pub(in crate::cpu) fn leads() -> bool {
    LED.get().is_some()
}

/// The result of `use_it`, if this thread leads a team. Inside, it leads none: operations of a team do not
/// overlap.
pub(super) fn with_leader<T>(use_it: impl FnOnce(&Leader) -> T) -> Option<T> {
    struct Restore(NonNull<Leader<'static>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LED.set(Some(self.0));
        }
    }
    let leader = Restore(LED.take()?);
    // SAFETY: `Leader::run` has set it, on this thread, and sets another before its borrow ends.
    Some(use_it(unsafe { leader.0.as_ref() }))
}

impl Leader<'_> {
    fn run<T>(&self, operations: impl FnOnce() -> T) -> T {
        /// Ends the team, also where an operation panics.
        struct End<'a>(&'a Leader<'a>, Option<NonNull<Leader<'static>>>);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                LED.set(self.1);
                self.0.end();
            }
        }
        let _end = End(self, LED.replace(Some(NonNull::from(self).cast())));
        operations()
    }

    /// Runs `task` for `0..count`, on this thread and those that help; returns how long it waited for the
    /// others after the last task had begun, and how long all took.
    pub(super) fn spread(
        &self,
        count: usize,
        task: &(dyn Fn(usize) + Sync),
    ) -> (Duration, Duration) {
        let start = clock();
        let mut done = start;
        self.operate(count, task, || done = clock());
        (clock() - done, clock() - start)
    }
}

#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    fn spread(count: usize, task: impl Fn(usize) + Sync) {
        with_leader(|leader| leader.spread(count, &task)).expect("a leader");
    }

    #[test]
    fn every_task_once() {
        for threads in [2, 3, 5] {
            pool(threads).install(|| {
                lead_with(threads - 1, || {
                    for turn in 0..2000 {
                        let count = turn % 23;
                        let runs: Vec<AtomicUsize> =
                            (0..count).map(|_| AtomicUsize::new(0)).collect();
                        spread(count, |i| {
                            runs[i].fetch_add(1, Ordering::Relaxed);
                        });
                        let once = runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1);
                        assert!(once, "{count} tasks on {threads} threads");
                    }
                });
            });
        }
    }

    /// Returns when two tasks have called it, which then are on two threads.
    fn meet(met: &AtomicUsize) {
        met.fetch_add(1, Ordering::AcqRel);
        let start = clock();
        while met.load(Ordering::Acquire) < 2 {
            assert!(clock() - start < Duration::from_secs(60), "nobody helps");
            std::thread::yield_now();
        }
    }

    #[test]
    fn others_help_and_come_back() {
        let pool = pool(2);
        let helped = || {
            let met = AtomicUsize::new(0);
            spread(2, |_| meet(&met));
        };
        pool.install(|| {
            lead_with(1, || {
                helped();
                // The helper leaves.
                std::thread::sleep(Duration::from_millis(20));
                helped();
            });
        });
        assert!(!leads());
    }

    #[test]
    fn panics_reach_the_leader() {
        let pool = pool(2);
        for of_leader in [true, false] {
            let run = || {
                pool.install(|| {
                    lead_with(1, || {
                        let leader = std::thread::current().id();
                        let met = AtomicUsize::new(0);
                        spread(2, |_| {
                            meet(&met);
                            if (std::thread::current().id() == leader) == of_leader {
                                panic!("a task");
                            }
                        });
                    });
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{of_leader}");
        }
        pool.install(|| lead_with(1, || spread(3, |_| {})));
    }

    #[test]
    fn an_operation_after_panics_of_all_members() {
        pool(2).install(|| {
            lead_with(1, || {
                let met = AtomicUsize::new(0);
                let all_panic = || {
                    spread(2, |_| {
                        meet(&met);
                        panic!("a task");
                    });
                };
                assert!(catch_unwind(AssertUnwindSafe(all_panic)).is_err());
                spread(2, |_| {});
            });
        });
    }

    #[test]
    fn teams_inside_teams() {
        let sum = AtomicUsize::new(0);
        pool(3).install(|| {
            lead_with(2, || {
                spread(1, |_| {});
                lead_with(2, || spread(10, |i| _ = sum.fetch_add(i, Ordering::Relaxed)));
                spread(10, |i| _ = sum.fetch_add(i, Ordering::Relaxed));
            });
        });
        assert_eq!(sum.into_inner(), 90);
    }

    #[test]
    fn operations_inside_operations() {
        let found = AtomicUsize::new(0);
        pool(2).install(|| {
            lead_with(1, || {
                spread(4, |_| {
                    found.fetch_add(usize::from(leads()), Ordering::Relaxed);
                });
                assert!(leads());
            });
        });
        assert_eq!(found.into_inner(), 0);
    }
}
