//! Models of the hand-over of tasks to helpers, `src/cpu/threads/handover.rs`: loom runs the file itself in every
//! order of the threads' accesses, and with every value that a load may have.

#![cfg(test)]

#[path = "../../src/cpu/threads/handover.rs"]
mod handover;
mod sync;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Counter, Ordering::Relaxed};
use std::time::Instant;

use handover::{Leader, Patience, Team};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sync::{WEAKER, Weaker};

/// Runs a model in all orders that have at most so many preemptions.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let start = Instant::now();
    let executions = Arc::new(Counter::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(preemptions));
    builder.check({
        let executions = executions.clone();
        move || {
            executions.fetch_add(1, Relaxed);
            model();
        }
    });
    eprintln!("{} executions, {:.1?}", executions.load(Relaxed), start.elapsed());
}

/// The looks of a helper that finds no operation before it leaves.
struct Looks(usize);

impl Patience for Looks {
    fn is_over(&mut self) -> bool {
        let over = self.0 == 0;
        self.0 = self.0.saturating_sub(1);
        over
    }

    fn renew(&mut self) {}
}

/// Runs `operations` as the leader of a team; every invitation has a thread.
fn lead(most: usize, looks: usize, operations: impl FnOnce(&Leader)) {
    let team = Arc::new(Team::new());
    let threads = RefCell::new(Vec::new());
    let invite = || {
        let mut threads = threads.borrow_mut();
        let (team, member) = (team.clone(), 1 + threads.len() % most);
        threads.push(thread::spawn(move || team.help(member, &mut Looks(looks))));
    };
    let leader = Leader::new(&team, most, &invite);
    operations(&leader);
    leader.end();
    team.dismiss(|| ());
    for thread in threads.take() {
        thread.join().unwrap();
    }
    nothing_is_left(&leader);
}

/// No task has panicked since the last operation: loom's findings are panics too.
fn nothing_is_left(leader: &Leader) {
    leader.operate(0, &|_| (), || ());
}

/// What the tasks of an operation share. The leader has written it before, and nobody reads or writes it
/// afterwards: loom sees whether all accesses have happened before the leader's last one.
struct Memory {
    input: AtomicUsize,
    /// How often each task has run.
    runs: Vec<AtomicUsize>,
}

impl Memory {
    fn new(count: usize) -> Self {
        let input = AtomicUsize::new(0);
        input.store(1, Ordering::Relaxed);
        Memory { input, runs: (0..count).map(|_| AtomicUsize::new(0)).collect() }
    }

    fn task(&self, index: usize) {
        let run = &self.runs[index];
        run.store(
            run.load(Ordering::Relaxed) + self.input.load(Ordering::Relaxed),
            Ordering::Relaxed,
        );
    }

    fn runs(mut self) -> Vec<usize> {
        self.input.with_mut(|_| ());
        self.runs.iter_mut().map(|run| run.with_mut(|run| *run)).collect()
    }
}

/// An operation whose tasks run once each.
fn operation(leader: &Leader, count: usize) {
    let memory = Memory::new(count);
    let begun = Cell::new(false);
    leader.operate(count, &|i| memory.task(i), || begun.set(true));
    assert!(begun.get());
    assert_eq!(memory.runs(), vec![1; count]);
}

/// Operations in a row with a helper that comes late or never, and leaves and comes back as it happens.
#[test]
fn operations_in_a_row() {
    check(3, || lead(1, 0, |leader| (0..3).for_each(|_| operation(leader, 2))));
}

/// A helper that finds the next operation by itself. Its range has two tasks, which both threads take.
#[test]
fn a_helper_that_stays() {
    check(3, || lead(1, 2, |leader| (0..2).for_each(|_| operation(leader, 3))));
}

#[test]
fn two_helpers() {
    check(2, || lead(2, 0, |leader| operation(leader, 3)));
    check(1, || lead(2, 0, |leader| (0..2).for_each(|_| operation(leader, 3))));
}

/// A panic in any thread's task reaches the leader when nobody is inside, and the team goes on.
#[test]
fn a_panic() {
    for task in 0..2 {
        check(3, move || {
            lead(1, 0, |leader| {
                let memory = Memory::new(2);
                let run = || {
                    let panics = |i| {
                        memory.task(i);
                        if i == task {
                            std::panic::resume_unwind(Box::new("a task"));
                        }
                    };
                    leader.operate(2, &panics, || ());
                };
                let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
                assert_eq!(panic.downcast_ref(), Some(&"a task"));
                let runs = memory.runs();
                assert!(runs[task] == 1 && runs[1 - task] <= 1);
                operation(leader, 2);
            });
        });
    }
}

/// An invitation that a thread takes or the leader takes back. The helper stays until the team ends.
#[test]
fn the_end() {
    check(3, || {
        let team = Arc::new(Team::new());
        let invitations = Arc::new(loom::sync::Mutex::new(0));
        // Accepts an invitation if there is one.
        let accept = {
            let (team, invitations) = (team.clone(), invitations.clone());
            move || {
                let there = std::mem::take(&mut *invitations.lock().unwrap());
                (0..there).for_each(|_| team.help(1, &mut Looks(usize::MAX)));
            }
        };
        let other = thread::spawn(accept.clone());
        let invite = || *invitations.lock().unwrap() += 1;
        let leader = Leader::new(&team, 1, &invite);
        operation(&leader, 2);
        operation(&leader, 2);
        leader.end();
        team.dismiss(accept);
        assert_eq!(*invitations.lock().unwrap(), 0);
        other.join().unwrap();
        nothing_is_left(&leader);
    });
}

/// Each of the orderings is needed, and the models find that one is missing.
#[test]
fn weaker_orders_are_found() {
    for weaker in [Weaker::Loads, Weaker::Stores, Weaker::Changes] {
        WEAKER.set(weaker);
        let found = catch_unwind(|| {
            check(3, || lead(1, 1, |leader| (0..2).for_each(|_| operation(leader, 2))));
        });
        assert!(found.is_err());
    }
}
