//! A thread and others that help it with many operations in a row.
//!
//! An operation of a network takes some ten microseconds. To wake a sleeping thread takes as long, and in a
//! virtual machine several times as long. So helpers stay: while the leader is between two operations, they
//! spin. One that finds nothing to do for a while leaves, and is invited again with the next operation.
//! Whoever comes late takes part in what is left.
//!
//! Tasks that follow each other mostly write to neighbouring memory, and parts of it share cache lines. So each
//! member has a range of them, the same share in every operation, and takes those of others last.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread::available_parallelism;
use std::time::Duration;

use crate::system::clock;

/// Members of a team at most: an operation on a crop has about as many tasks.
const MAX_MEMBERS: usize = 8;
/// How long a helper waits for an operation.
const PATIENCE: Duration = Duration::from_micros(100);
/// Looks at the team between two at the clock.
const SPINS_PER_CLOCK_READ: usize = 64;

/// Tasks that nobody has begun: from the number in the upper half to that in the lower half.
///
/// On cache lines of its own, because every member writes to its own range.
#[repr(align(128))]
#[derive(Default)]
struct Range(AtomicU64);

impl Range {
    fn set(&self, start: usize, end: usize) {
        self.0.store((start as u64) << 32 | end as u64, Ordering::Relaxed);
    }

    /// The range with its first task, or its last one, taken away, and that task's number.
    fn without(range: u64, last: bool) -> Option<(u64, usize)> {
        let (start, end) = (range >> 32, range & u64::from(u32::MAX));
        if start >= end {
            None
        } else if last {
            Some((range - 1, end as usize - 1))
        } else {
            Some((range + (1 << 32), start as usize))
        }
    }

    /// A task for this thread alone. The range's owner takes the first one, others the last.
    fn take(&self, last: bool) -> Option<usize> {
        let next = |range| Self::without(range, last).map(|(rest, _)| rest);
        let range = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Self::without(range, last).map(|(_, task)| task)
    }
}

/// CPUs that this process may use: helpers that spin must not take those of others.
static CPUS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));

type Task<'a> = &'a (dyn Fn(usize) + Sync);

/// What leader and helpers share.
struct Team {
    /// The number of the operation that helpers may enter; 0 between two.
    open: AtomicUsize,
    /// Helpers that have entered an operation, or try to.
    inside: AtomicUsize,
    /// The operation's task. The leader writes it while no operation is open and nobody is inside; helpers
    /// read it inside.
    task: UnsafeCell<Task<'static>>,
    /// The operation's tasks, divided among the members. The leader's are the first.
    ranges: [Range; MAX_MEMBERS],
    /// Ranges that hold tasks.
    members: AtomicUsize,
    /// What a helper's task panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Helpers that are there or invited.
    helpers: AtomicUsize,
    /// Invitations that nobody has taken.
    untaken: AtomicUsize,
    /// Whether no more operations come.
    ended: AtomicBool,
}

// SAFETY: all but `task` may be shared anyway, and its comment says who accesses it when; the orderings of
// `open` and `inside` see to it.
unsafe impl Sync for Team {}

impl Team {
    fn new() -> Self {
        Team {
            open: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            task: UnsafeCell::new(&|_| {}),
            ranges: std::array::from_fn(|_| Range::default()),
            members: AtomicUsize::new(1),
            panic: Mutex::new(None),
            helpers: AtomicUsize::new(0),
            untaken: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Runs tasks that nobody has begun until there are none.
    fn work(&self, task: Task, member: usize) {
        let members = self.members.load(Ordering::Relaxed);
        for offset in 0..members {
            let range = &self.ranges[(member + offset) % members];
            while let Some(index) = range.take(offset > 0) {
                task(index);
            }
        }
    }

    /// Takes part in operations until the last has ended, or none comes for a while.
    fn help(&self, member: usize) {
        let mut done = 0;
        let mut spins = 0;
        let mut idle_since = clock();
        while !self.ended.load(Ordering::Acquire) {
            let number = self.open.load(Ordering::Acquire);
            if number == 0 || number == done {
                spins += 1;
                if spins % SPINS_PER_CLOCK_READ == 0 && clock() - idle_since > PATIENCE {
                    break;
                }
                std::hint::spin_loop();
                continue;
            }
            // In the one order of all these accesses either this comes before the leader's look at `inside`, so
            // that it waits, or the operation is seen to be closed.
            self.inside.fetch_add(1, Ordering::SeqCst);
            if self.open.load(Ordering::SeqCst) == number {
                // SAFETY: the operation is open, and its leader waits for this thread to leave it before it
                // returns or writes another.
                let task = unsafe { *self.task.get() };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work(task, member))) {
                    *self.panic.lock().unwrap_or_else(|lock| lock.into_inner()) = Some(panic);
                }
                done = number;
                idle_since = clock();
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
        self.helpers.fetch_sub(1, Ordering::Release);
    }
}

/// The thread whose operations a team works on.
pub(super) struct Leader<'a> {
    team: &'a Team,
    /// Asks a thread of the pool for help.
    invite: &'a dyn Fn(),
    /// Helpers at most.
    most: usize,
    /// The number of the last operation.
    last: Cell<usize>,
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
            team.untaken.fetch_add(1, Ordering::Relaxed);
            scope.spawn(move |_| {
                team.untaken.fetch_sub(1, Ordering::Relaxed);
                team.help(member);
            });
        };
        let leader = Leader { team, invite: &invite, most, last: Cell::new(0) };
        let result = leader.run(operations);
        dismiss(team);
        result
    })
}

/// Waits until nobody helps: those who are there leave at once, invitations that nobody has taken are taken
/// back. At the end of its scope a thread would look for any other work, and the result would wait for that.
fn dismiss(team: &Team) {
    let mut spins = 0;
    while team.helpers.load(Ordering::Acquire) > 0 {
        // The latest jobs of this thread are the invitations.
        if team.untaken.load(Ordering::Relaxed) > 0 {
            rayon::yield_local();
        }
        spins += 1;
        if spins % SPINS_PER_CLOCK_READ == 0 {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
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
        /// Ends the team, also where an operation panics: helpers would wait for ever.
        struct End<'a>(&'a Team, Option<NonNull<Leader<'static>>>);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                LED.set(self.1);
                self.0.ended.store(true, Ordering::Release);
            }
        }
        let _end = End(self.team, LED.replace(Some(NonNull::from(self).cast())));
        operations()
    }

    /// Runs `task` for `0..count`, on this thread and those that help; returns how long it waited for the
    /// others after the last task had begun, and how long all took.
    pub(super) fn spread(&self, count: usize, task: Task) -> (Duration, Duration) {
        /// Waits until nobody is inside, also where a task of this thread panics.
        struct Close<'a>(&'a Team);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.0.open.store(0, Ordering::SeqCst);
                let mut spins = 0;
                while self.0.inside.load(Ordering::SeqCst) > 0 {
                    spins += 1;
                    if spins % SPINS_PER_CLOCK_READ == 0 {
                        std::thread::yield_now();
                    }
                    std::hint::spin_loop();
                }
            }
        }
        let team = self.team;
        let start = clock();
        // SAFETY: of the lifetime: whoever reads it is inside, and this function waits until nobody is. Nobody
        // reads now: nothing is open, and the operation before this one has waited.
        unsafe { *team.task.get() = std::mem::transmute::<Task, Task<'static>>(task) };
        let members = (self.most + 1).min(count).max(1);
        for (member, range) in team.ranges[..members].iter().enumerate() {
            range.set(member * count / members, (member + 1) * count / members);
        }
        team.members.store(members, Ordering::Relaxed);
        self.last.set(self.last.get() + 1);
        team.open.store(self.last.get(), Ordering::SeqCst);
        let close = Close(team);
        for _ in team.helpers.load(Ordering::Relaxed)..self.most.min(count.saturating_sub(1)) {
            team.helpers.fetch_add(1, Ordering::Relaxed);
            (self.invite)();
        }
        team.work(task, 0);
        let done = clock();
        drop(close);
        if let Some(panic) = team.panic.lock().unwrap_or_else(|lock| lock.into_inner()).take() {
            resume_unwind(panic);
        }
        (clock() - done, clock() - start)
    }
}

#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod tests {
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
