//! What becomes of memory that is freed. Beside the kernels, the one place with unsafe code: a call of the C library.

#![allow(unsafe_code)]

/// Asks the system's allocator to keep freed memory for the next allocation instead of giving it
/// back, for the whole process. Returns whether it can be asked: with the GNU C library.
pub(crate) fn keep_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const BLOCK: libc::c_int = 1 << 30;
        // SAFETY: mallopt only sets parameters of the allocator, under its own lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, BLOCK) == 1
                && libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX) == 1
                && libc::mallopt(libc::M_TOP_PAD, 1 << 26) == 1
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}
