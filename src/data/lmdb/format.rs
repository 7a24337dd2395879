//! The file format of LMDB 0.9 (`data.mdb`, data version 1) on little-endian machines of 64 bits.
//!
//! A file is pages of one size. Pages 0 and 1 are meta pages: the one of the later transaction holds.
//! It names the root of a B+ tree, whose branch pages lead to leaf pages with the entries in the
//! order of their keys. A value that is too large for a leaf has overflow pages of its own.
//!
//! ```text
//! page    number u64, pad u16, flags u16, lower u16, upper u16; then the offsets of nodes, u16 each,
//!         up to `lower`; the nodes lie from `upper` on. On overflow pages, instead of lower and upper:
//!         the count of pages, u32; the value follows.
//! node    low u16, high u16, flags u16, key size u16; the key; on leaves the value.
//!         On branches low, high and flags are the page's number, on leaves low and high the value's
//!         size. A value on overflow pages is their number instead.
//! meta    (behind a page's header) magic u32, version u32, address u64, map size u64, two trees (free
//!         pages, entries), last page u64, transaction u64
//! tree    pad u32 (of the first: the page size), flags u16, depth u16, counts of branch, leaf and
//!         overflow pages u64, entries u64, root u64
//! ```

pub(super) const MAGIC: u32 = 0xbeef_c0de;
pub(super) const VERSION: u32 = 1;

/// Bytes of a page's header.
pub(super) const HEADER: usize = 16;
/// Bytes of a node before its key.
pub(super) const NODE: usize = 8;

pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const OVERFLOW: u16 = 0x04;
pub(super) const META: u16 = 0x08;

/// The flag of a node whose value lies on overflow pages.
pub(super) const BIG: u16 = 0x01;

/// Where the trees, the last page and the transaction stand in a meta page.
pub(super) const META_TREES: usize = HEADER + 24;
pub(super) const TREE: usize = 48;
pub(super) const META_LAST_PAGE: usize = META_TREES + 2 * TREE;
/// Bytes of a meta page that have a meaning.
pub(super) const META_END: usize = META_LAST_PAGE + 16;

/// The root of an empty tree.
pub(super) const NO_PAGE: u64 = u64::MAX;

/// The number of `N` bytes at an offset; `None` beyond the end.
pub(super) fn bytes_at<const N: usize>(page: &[u8], at: usize) -> Option<[u8; N]> {
    page.get(at..)?.first_chunk().copied()
}

pub(super) fn u16_at(page: &[u8], at: usize) -> Option<u16> {
    bytes_at(page, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(page: &[u8], at: usize) -> Option<u32> {
    bytes_at(page, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(page: &[u8], at: usize) -> Option<u64> {
    bytes_at(page, at).map(u64::from_le_bytes)
}
