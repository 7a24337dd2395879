//! Time, on every platform.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The time since the first call. It stands still on WebAssembly without an operating system, where
/// the standard library's clock panics.
pub(crate) fn clock() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    if cfg!(all(target_family = "wasm", target_os = "unknown")) {
        return Duration::ZERO;
    }
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let (a, b) = (clock(), clock());
        assert!(a <= b && b - a < Duration::from_secs(60));
    }
}
