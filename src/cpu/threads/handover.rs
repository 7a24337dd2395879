//! How a thread hands the tasks of an operation to those that help it.
//!
//! This is the part of a [`team`](super::team) that must be right whatever the threads do when: it knows neither
//! the pool nor the clock. What threads share comes from [`sync`](super::sync), so that `tests/loom` can run this
//! file in every order of their accesses.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, UnsafeCell, spin_loop, yield_now,
};

/// Members of a team at most: an operation on a crop has about as many tasks.
pub(super) const MAX_MEMBERS: usize = 8;
/// Looks at shared state while a thread waits, between two at something slower.
pub(super) const SPINS: usize = 64;

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

type Task<'a> = &'a (dyn Fn(usize) + Sync);

/// Waits for a change of shared state, a moment at a time.
#[derive(Default)]
struct Waiting {
    spins: usize,
}

impl Waiting {
    fn wait(&mut self) {
        self.spins += 1;
        if self.spins.is_multiple_of(SPINS) {
            yield_now();
        }
        spin_loop();
    }
}

/// When a helper leaves because no operation comes.
pub(super) trait Patience {
    /// Asked after each look that found no operation.
    fn is_over(&mut self) -> bool;
    /// An operation is done.
    fn renew(&mut self);
}

/// What leader and helpers share.
pub(super) struct Team {
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
    pub(super) fn new() -> Self {
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

    /// What a helper's task panicked with, once.
    fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic.lock().unwrap_or_else(|lock| lock.into_inner()).take()
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

    /// Accepts an invitation: takes part in operations until the last has ended, or none comes for a while.
    pub(super) fn help(&self, member: usize, patience: &mut impl Patience) {
        self.untaken.fetch_sub(1, Ordering::Relaxed);
        let mut done = 0;
        while !self.ended.load(Ordering::Acquire) {
            let number = self.open.load(Ordering::Acquire);
            if number == 0 || number == done {
                if patience.is_over() {
                    break;
                }
                spin_loop();
                continue;
            }
            // In the one order of all these accesses either this comes before the leader's look at `inside`, so
            // that it waits, or the operation is seen to be closed.
            self.inside.fetch_add(1, Ordering::SeqCst);
            if self.open.load(Ordering::SeqCst) == number {
                self.task.with(|task| {
                    // SAFETY: the operation is open, and its leader waits for this thread to leave it before it
                    // returns or writes another.
                    let task = unsafe { *task };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work(task, member))) {
                        *self.panic.lock().unwrap_or_else(|lock| lock.into_inner()) = Some(panic);
                    }
                });
                done = number;
                patience.renew();
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
        self.helpers.fetch_sub(1, Ordering::Release);
    }

    /// Waits until nobody helps: those who are there leave at once, `take_back` accepts an invitation that nobody
    /// has taken.
    pub(super) fn dismiss(&self, take_back: impl Fn()) {
        let mut waiting = Waiting::default();
        while self.helpers.load(Ordering::Acquire) > 0 {
            if self.untaken.load(Ordering::Relaxed) > 0 {
                take_back();
            }
            waiting.wait();
        }
    }
}

/// The thread whose operations a team works on. A team has one.
pub(super) struct Leader<'a> {
    team: &'a Team,
    /// Helpers at most.
    most: usize,
    /// Asks a thread for help.
    invite: &'a dyn Fn(),
    /// The number of the last operation.
    last: Cell<usize>,
}

impl<'a> Leader<'a> {
    pub(super) fn new(team: &'a Team, most: usize, invite: &'a dyn Fn()) -> Self {
        Leader { team, most, invite, last: Cell::new(0) }
    }

    /// Says that no more operations come: helpers would wait for ever.
    pub(super) fn end(&self) {
        self.team.ended.store(true, Ordering::Release);
    }

    /// Runs `task` for `0..count`, on this thread and those that help. Before it waits for the others, the last
    /// task having begun, it calls `begun`. Operations of a team do not overlap: no task calls this.
    ///
    /// # Panics
    /// If a task panics, once nobody is inside.
    pub(super) fn operate(&self, count: usize, task: Task, begun: impl FnOnce()) {
        /// Waits until nobody is inside, also where a task of this thread panics. Then this panic counts, and one of
        /// a helper's must not be left to the next operation.
        struct Close<'a> {
            team: &'a Team,
            panics: bool,
        }
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.team.open.store(0, Ordering::SeqCst);
                let mut waiting = Waiting::default();
                while self.team.inside.load(Ordering::SeqCst) > 0 {
                    waiting.wait();
                }
                if self.panics {
                    self.team.take_panic();
                }
            }
        }
        let team = self.team;
        team.task.with_mut(|shared| {
            // SAFETY: of the lifetime: whoever reads it is inside, and this function waits until nobody is.
            // Nobody reads now: nothing is open, and the operation before this one has waited.
            unsafe { *shared = std::mem::transmute::<Task, Task<'static>>(task) };
        });
        let members = (self.most + 1).min(count).max(1);
        for (member, range) in team.ranges[..members].iter().enumerate() {
            range.set(member * count / members, (member + 1) * count / members);
        }
        team.members.store(members, Ordering::Relaxed);
        self.last.set(self.last.get() + 1);
        team.open.store(self.last.get(), Ordering::SeqCst);
        let mut close = Close { team, panics: true };
        for _ in team.helpers.load(Ordering::Relaxed)..self.most.min(count.saturating_sub(1)) {
            team.helpers.fetch_add(1, Ordering::Relaxed);
            team.untaken.fetch_add(1, Ordering::Relaxed);
            (self.invite)();
        }
        team.work(task, 0);
        begun();
        close.panics = false;
        drop(close);
        if let Some(panic) = team.take_panic() {
            resume_unwind(panic);
        }
    }
}
