//! Reads LMDB files without a memory map: a damaged file, or one that is changed meanwhile, gives an
//! error or wrong entries, never a crash.

use std::fs::File;
use std::io;
use std::path::Path;

use super::format::{
    BIG, BRANCH, HEADER, LEAF, MAGIC, META, META_END, META_LAST_PAGE, META_TREES, NO_PAGE, NODE,
    OVERFLOW, TREE, VERSION, u16_at, u32_at, u64_at,
};
use crate::files;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Damaged(&'static str),
}

impl From<&'static str> for Fault {
    fn from(detail: &'static str) -> Self {
        Fault::Damaged(detail)
    }
}

/// Sizes that pages can have.
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=1 << 16;
/// Levels of the deepest tree that LMDB makes.
const MAX_LEVELS: usize = 32;
/// Flags of trees whose entries have another order, or several values a key.
const OTHER_TREES: u16 = 0x7f;

/// An LMDB file's main tree.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    page_size: usize,
    /// Pages that the file holds and the meta page counts.
    pages: u64,
    root: u64,
    depth: usize,
    entries: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let file = files::open(path).map_err(Fault::Io)?;
        let len = file.metadata().map_err(Fault::Io)?.len();
        let meta = |at: u64| -> Result<[u8; META_END], Fault> {
            let mut meta = [0; META_END];
            if at + META_END as u64 > len {
                return Err("it is truncated: there is no meta page".into());
            }
            read_at(&file, at, &mut meta)?;
            check_meta(&meta)?;
            Ok(meta)
        };
        let first = meta(0)?;
        let page_size = u32_at(&first, META_TREES).map_or(0, |size| size as usize);
        if !page_size.is_power_of_two() || !PAGE_SIZES.contains(&page_size) {
            return Err("its page size is out of range".into());
        }
        let second = meta(page_size as u64)?;
        let transaction = |meta: &[u8]| u64_at(meta, META_LAST_PAGE + 8);
        let later = if transaction(&second) > transaction(&first) { second } else { first };
        let tree = &later[META_TREES + TREE..];
        let field = |at: usize| u64_at(tree, at).ok_or("a meta page is too short");
        if u16_at(tree, 4).is_none_or(|flags| flags & OTHER_TREES != 0) {
            return Err("its entries are ordered by another rule".into());
        }
        let depth = usize::from(u16_at(tree, 6).unwrap_or(0));
        let last = u64_at(&later, META_LAST_PAGE).ok_or("a meta page is too short")?;
        let pages = last.checked_add(1).ok_or("its last page is out of range")?;
        if pages.checked_mul(page_size as u64).is_none_or(|bytes| bytes > len) {
            return Err("it is truncated: pages are missing".into());
        }
        let (entries, root) = (field(32)?, field(40)?);
        if depth > MAX_LEVELS || (depth == 0) != (root == NO_PAGE) {
            return Err("the depth of its tree is out of range".into());
        }
        Ok(Reader { file, page_size, pages, root, depth, entries })
    }

    /// The number of entries, as the file says.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let mut number = self.root;
        let mut bytes = vec![0; self.page_size];
        for _ in 1..self.depth {
            let page = self.page(number, BRANCH, &mut bytes)?;
            // The last child whose keys begin at or before the key; the first one's is not stored.
            let child = page.partition(1, |node| node.key <= key)? - 1;
            number = page.node(child)?.child();
        }
        if self.depth == 0 {
            return Ok(None);
        }
        let page = self.page(number, LEAF, &mut bytes)?;
        let at = page.partition(0, |node| node.key < key)?;
        if at == page.nodes {
            return Ok(None);
        }
        let node = page.node(at)?;
        if node.key != key {
            return Ok(None);
        }
        match node.flags {
            0 => Ok(Some(node.value()?.to_vec())),
            BIG => {
                let number = u64_at(node.rest, 0).ok_or("a node exceeds its page")?;
                self.overflow(number, node.size()).map(Some)
            }
            _ => Err("an entry is a tree of its own".into()),
        }
    }

    /// Reads a page and checks its header.
    fn page<'a>(&self, number: u64, kind: u16, bytes: &'a mut [u8]) -> Result<Page<'a>, Fault> {
        self.check_pages(number, 1)?;
        read_at(&self.file, number * self.page_size as u64, bytes)?;
        let (lower, upper) = (u16_at(bytes, 12), u16_at(bytes, 14));
        let (lower, upper) = (lower.map_or(0, usize::from), upper.map_or(0, usize::from));
        if u64_at(bytes, 0) != Some(number) || u16_at(bytes, 10) != Some(kind) {
            return Err("a page is not what the tree says".into());
        }
        // A branch leads to two children at least.
        let least = HEADER + if kind == BRANCH { 4 } else { 2 };
        if lower < least || lower > upper || upper > bytes.len() {
            return Err("the header of a page is out of range".into());
        }
        Ok(Page { bytes, nodes: (lower - HEADER) / 2 })
    }

    fn check_pages(&self, first: u64, count: u64) -> Result<(), Fault> {
        // The first two are meta pages.
        let inside = first >= 2 && first.checked_add(count).is_some_and(|end| end <= self.pages);
        if inside { Ok(()) } else { Err("a page lies outside the file".into()) }
    }

    /// A value on overflow pages.
    fn overflow(&self, number: u64, size: usize) -> Result<Vec<u8>, Fault> {
        let pages = (HEADER + size).div_ceil(self.page_size) as u64;
        // What is allocated below is no larger than the file.
        self.check_pages(number, pages)?;
        let at = number * self.page_size as u64;
        let mut header = [0; HEADER];
        read_at(&self.file, at, &mut header)?;
        let counted = u32_at(&header, 12).map_or(0, u64::from);
        let is_overflow = u16_at(&header, 10) == Some(OVERFLOW);
        if u64_at(&header, 0) != Some(number) || !is_overflow || counted < pages {
            return Err("an overflow page is not what the tree says".into());
        }
        let mut value = vec![0; size];
        read_at(&self.file, at + HEADER as u64, &mut value)?;
        Ok(value)
    }
}

fn check_meta(meta: &[u8]) -> Result<(), Fault> {
    let flagged = u16_at(meta, 10).is_some_and(|flags| flags & META != 0);
    if !flagged || u32_at(meta, HEADER) != Some(MAGIC) {
        return Err("it is not an LMDB file, or a meta page is damaged".into());
    }
    if u32_at(meta, HEADER + 4) != Some(VERSION) {
        return Err("it has another version of the format".into());
    }
    Ok(())
}

/// A page of the tree.
struct Page<'a> {
    bytes: &'a [u8],
    nodes: usize,
}

/// A node of a page.
struct Node<'a> {
    low: u16,
    high: u16,
    flags: u16,
    key: &'a [u8],
    /// What follows the key, to the end of the page.
    rest: &'a [u8],
}

impl<'a> Page<'a> {
    fn node(&self, index: usize) -> Result<Node<'a>, Fault> {
        let node = || {
            let at = usize::from(u16_at(self.bytes, HEADER + 2 * index)?);
            let node = self.bytes.get(at..).filter(|_| at >= HEADER + 2 * self.nodes)?;
            let (head, body) = node.split_at_checked(NODE)?;
            let (key, rest) = body.split_at_checked(usize::from(u16_at(head, 6)?))?;
            let (low, high, flags) = (u16_at(head, 0)?, u16_at(head, 2)?, u16_at(head, 4)?);
            Some(Node { low, high, flags, key, rest })
        };
        node().ok_or(Fault::Damaged("a node exceeds its page"))
    }

    /// The first node from `start` on of which `before` is false; nodes are in order.
    fn partition(&self, start: usize, before: impl Fn(&Node) -> bool) -> Result<usize, Fault> {
        let (mut low, mut high) = (start, self.nodes);
        while low < high {
            let middle = low.midpoint(high);
            if before(&self.node(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

impl<'a> Node<'a> {
    /// The page that a branch's node leads to.
    fn child(&self) -> u64 {
        u64::from(self.low) | u64::from(self.high) << 16 | u64::from(self.flags) << 32
    }

    /// The size of a leaf's value.
    fn size(&self) -> usize {
        usize::from(self.low) | usize::from(self.high) << 16
    }

    fn value(&self) -> Result<&'a [u8], Fault> {
        self.rest.get(..self.size()).ok_or(Fault::Damaged("a node exceeds its page"))
    }
}

fn read_at(file: &File, offset: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    files::read_at(file, offset, bytes).map_err(Fault::Io)
}
