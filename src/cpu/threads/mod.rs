//! Which thread computes what, and when.
//!
//! All work runs on the threads of the current rayon pool: the global one, or that in which the caller is
//! (`ThreadPool::install`). It has two levels.
//!
//! - A **job** is a crop, from its pixels to its text, a region that is cut out of a page, or a window of a
//!   line ([`map_jobs`]). Jobs are what
//!   calls compete with: a call hands over at most two for each thread at a time, and the pool takes those of
//!   all callers in the order in which they came. So a crop that somebody else sends while a batch of
//!   thousands is in work waits for a crop or two of each thread. A caller that is a thread of the pool itself
//!   cannot wait for others' work; it runs its jobs in rounds of four for each thread, and lets waiting calls
//!   in between two rounds.
//! - An **operation** is a layer of the network, divided into tasks ([`parallel`](operation::parallel)). The
//!   operations of a job run on the job's thread alone while there are as many jobs as threads: nothing is
//!   shared, nobody waits. A crop that is alone, and the last ones of a batch, lead a [`team`]: whoever is idle
//!   helps, from operation to operation.
//!
//! A team has at most as many members as the process has CPUs, whatever the pool's size: its members spin
//! between operations, and would take CPUs from those who compute. Where another process takes a CPU away in
//! the middle of an operation, teams pause for a while ([`operation`]). Nothing but speed depends on any of
//! this: what a task computes depends on its number alone.

mod handover;
mod jobs;
pub(super) mod operation;
mod sync;
pub(super) mod team;

use std::cell::Cell;

pub(crate) use jobs::map_jobs;

thread_local! {
    /// Whether operations run on this thread alone.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Whether operations run on this thread alone.
fn alone() -> bool {
    ALONE.get()
}

/// Runs operations on this thread alone.
fn alone_while<T>(operations: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _restore = Restore(ALONE.replace(true));
    operations()
}

/// Runs many operations in a row on a thread of the current pool, which leads a [`team`]; inside a job that
/// has its thread for itself, or a team, on this thread as things are.
pub(crate) fn in_pool<T: Send>(operations: impl FnOnce() -> T + Send) -> T {
    if alone() || team::leads() || rayon::current_num_threads() <= 1 {
        operations()
    } else {
        team::lead(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "no threads")]
    fn operations_run_in_the_pool() {
        let inside = || rayon::current_thread_index().is_some();
        let several = rayon::current_num_threads() > 1;
        assert_eq!((inside(), in_pool(inside)), (false, several));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let number = rayon::current_thread_index;
        let (here, there) = pool.install(|| (number(), in_pool(number)));
        assert!(here.is_some() && here == there, "{here:?}, {there:?}");
    }
}
