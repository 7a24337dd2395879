//! What `src/cpu/threads/sync.rs` has, as types of loom.
//!
//! To loom a load with `SeqCst` may have the value of an older store than the last one with `SeqCst`, if the older
//! one is not `SeqCst` itself. So the first value of an atomic is stored so as well: all accesses with `SeqCst` have
//! one order then, that in which they happen.

use std::cell::Cell;
use std::sync::{LockResult, MutexGuard};

pub use loom::cell::UnsafeCell;
pub use loom::hint::spin_loop;
use loom::sync::atomic;
pub use loom::sync::atomic::{AtomicU64, Ordering};
pub use loom::thread::yield_now;

/// Accesses that have a weaker order than the code says, to see that a model finds it.
#[derive(Clone, Copy, PartialEq)]
pub enum Weaker {
    None,
    /// `SeqCst` is `Acquire`.
    Loads,
    /// `SeqCst` is `Release`.
    Stores,
    /// `SeqCst` is `AcqRel`.
    Changes,
}

thread_local! {
    /// For the models of this thread. loom runs the threads of a model on one of the system.
    pub static WEAKER: Cell<Weaker> = const { Cell::new(Weaker::None) };
}

/// The order of an access of one kind.
fn order(kind: Weaker, order: Ordering) -> Ordering {
    match kind {
        _ if order != Ordering::SeqCst || kind != WEAKER.get() => order,
        Weaker::Loads => Ordering::Acquire,
        Weaker::Stores => Ordering::Release,
        _ => Ordering::AcqRel,
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        pub struct $name(atomic::$name);

        impl $name {
            pub fn new(value: $value) -> Self {
                let atomic = atomic::$name::new(value);
                atomic.store(value, Ordering::SeqCst);
                $name(atomic)
            }

            pub fn load(&self, as_said: Ordering) -> $value {
                self.0.load(order(Weaker::Loads, as_said))
            }

            pub fn store(&self, value: $value, as_said: Ordering) {
                self.0.store(value, order(Weaker::Stores, as_said));
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicUsize, usize);

impl AtomicUsize {
    pub fn fetch_add(&self, value: usize, as_said: Ordering) -> usize {
        self.0.fetch_add(value, order(Weaker::Changes, as_said))
    }

    pub fn fetch_sub(&self, value: usize, as_said: Ordering) -> usize {
        self.0.fetch_sub(value, order(Weaker::Changes, as_said))
    }
}

/// A lock that is held only where no other thread of the model can run. loom's must not be let go while another
/// thread panics.
pub struct Mutex<T> {
    turns: atomic::AtomicUsize,
    value: std::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex { turns: atomic::AtomicUsize::new(0), value: std::sync::Mutex::new(value) }
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.turns.fetch_add(1, Ordering::AcqRel);
        self.value.lock()
    }
}
