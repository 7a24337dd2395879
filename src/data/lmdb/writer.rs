//! Writes LMDB files: entries in the order of their keys, in one pass.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use super::format::{BIG, BRANCH, HEADER, LEAF, MAGIC, META, NO_PAGE, NODE, OVERFLOW, VERSION};

const PAGE: usize = 4096;
/// Bytes of the largest node that LMDB keeps on a leaf: two fit.
const MAX_NODE: usize = (((PAGE - HEADER) / 2) & !1) - 2;
/// Nodes begin at even offsets.
const ALIGN: usize = 2;

/// Writes a file from its third page on, then its meta pages.
pub(super) struct Writer<'a> {
    file: BufWriter<&'a mut File>,
    next_page: u64,
    leaf: PageBuilder,
    /// First key and number of every leaf.
    leaves: Vec<(Vec<u8>, u64)>,
    counts: Counts,
}

/// What a meta page counts.
#[derive(Default)]
struct Counts {
    branches: u64,
    leaves: u64,
    overflow: u64,
    entries: u64,
    depth: u16,
}

impl<'a> Writer<'a> {
    pub(super) fn new(file: &'a mut File) -> io::Result<Self> {
        let mut file = BufWriter::new(file);
        // The meta pages come last, when all is known.
        file.write_all(&[0; 2 * PAGE])?;
        let (leaf, leaves, counts) = (PageBuilder::new(LEAF), Vec::new(), Counts::default());
        Ok(Writer { file, next_page: 2, leaf, leaves, counts })
    }

    /// Adds an entry, whose key is short and greater than all before.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let size = u32::try_from(value.len()).map_err(|_| too_large())?;
        let (flags, stored) = if NODE + key.len() + value.len() > MAX_NODE {
            (BIG, self.overflow(value)?.to_le_bytes().to_vec())
        } else {
            (0, value.to_vec())
        };
        let [low, high] = [size as u16, (size >> 16) as u16];
        if !self.leaf.push([low, high, flags], key, &stored) {
            self.end_leaf()?;
            if !self.leaf.push([low, high, flags], key, &stored) {
                return Err(too_large());
            }
        }
        self.counts.entries += 1;
        Ok(())
    }

    fn overflow(&mut self, value: &[u8]) -> io::Result<u64> {
        let number = self.next_page;
        let pages = (HEADER + value.len()).div_ceil(PAGE);
        let count = u32::try_from(pages).map_err(|_| too_large())?;
        self.file.write_all(&header(number, OVERFLOW, count.to_le_bytes()))?;
        self.file.write_all(value)?;
        self.file.write_all(&[0; PAGE][..pages * PAGE - HEADER - value.len()])?;
        self.next_page += pages as u64;
        self.counts.overflow += pages as u64;
        Ok(number)
    }

    fn page(&mut self, page: PageBuilder) -> io::Result<u64> {
        let number = self.next_page;
        self.file.write_all(&page.finish(number))?;
        self.next_page += 1;
        Ok(number)
    }

    fn end_leaf(&mut self) -> io::Result<()> {
        let leaf = std::mem::replace(&mut self.leaf, PageBuilder::new(LEAF));
        let first = leaf.first.clone();
        let number = self.page(leaf)?;
        self.leaves.push((first, number));
        self.counts.leaves += 1;
        Ok(())
    }

    /// Writes what is left: the branches above the leaves, and the meta pages.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.leaf.offsets.is_empty() {
            self.end_leaf()?;
        }
        let mut level = std::mem::take(&mut self.leaves);
        self.counts.depth = u16::from(!level.is_empty());
        while level.len() > 1 {
            level = self.branches(&level)?;
            self.counts.depth += 1;
        }
        let root = level.first().map_or(NO_PAGE, |(_, number)| *number);
        self.file.seek(SeekFrom::Start(0))?;
        let last = self.next_page - 1;
        // The first meta page is that of the empty file.
        self.file.write_all(&meta(0, &Counts::default(), NO_PAGE, last))?;
        self.file.write_all(&meta(1, &self.counts, root, last))?;
        self.file.flush()
    }

    /// Writes the branch pages of the children of a level, at least two a page.
    fn branches(&mut self, children: &[(Vec<u8>, u64)]) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let mut level = Vec::new();
        let mut rest = children;
        while !rest.is_empty() {
            let mut page = PageBuilder::new(BRANCH);
            let mut taken = 0;
            for (key, child) in rest {
                // The first key of a page is not stored.
                let key = if taken == 0 { &[][..] } else { key };
                // None is left alone for the next page.
                let alone = rest.len() - taken == 2 && !page.fits(key, 0, 2);
                let [low, high, top] = [*child as u16, (child >> 16) as u16, (child >> 32) as u16];
                if (alone && taken > 1) || !page.push([low, high, top], key, &[]) {
                    break;
                }
                taken += 1;
            }
            let first = rest.first().map(|(key, _)| key.clone()).unwrap_or_default();
            level.push((first, self.page(page)?));
            self.counts.branches += 1;
            rest = &rest[taken..];
        }
        Ok(level)
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "an entry is too large for LMDB")
}

fn header(number: u64, flags: u16, last: [u8; 4]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&number.to_le_bytes());
    header[10..12].copy_from_slice(&flags.to_le_bytes());
    header[12..].copy_from_slice(&last);
    header
}

fn meta(number: u64, counts: &Counts, root: u64, last_page: u64) -> Vec<u8> {
    let mut meta = header(number, META, [0; 4]).to_vec();
    meta.extend(MAGIC.to_le_bytes());
    meta.extend(VERSION.to_le_bytes());
    let map_size = (last_page + 1) * PAGE as u64;
    meta.extend([0, map_size].iter().flat_map(|number| number.to_le_bytes()));
    let tree = |page_size: u32, counts: &Counts, root: u64| {
        let mut tree = page_size.to_le_bytes().to_vec();
        tree.extend([0, counts.depth].iter().flat_map(|number| number.to_le_bytes()));
        let Counts { branches, leaves, overflow, entries, .. } = *counts;
        let numbers = [branches, leaves, overflow, entries, root];
        tree.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        tree
    };
    meta.extend(tree(PAGE as u32, &Counts::default(), NO_PAGE));
    meta.extend(tree(0, counts, root));
    // Its number is the transaction's, too.
    meta.extend([last_page, number].iter().flat_map(|number| number.to_le_bytes()));
    meta.resize(PAGE, 0);
    meta
}

/// A page of the tree: offsets grow from its start, nodes from its end.
struct PageBuilder {
    kind: u16,
    first: Vec<u8>,
    offsets: Vec<u16>,
    bytes: Vec<u8>,
    /// Where the nodes begin.
    upper: usize,
}

impl PageBuilder {
    fn new(kind: u16) -> Self {
        let (first, offsets, bytes) = (Vec::new(), Vec::new(), vec![0; PAGE]);
        PageBuilder { kind, first, offsets, bytes, upper: PAGE }
    }

    /// Whether so many nodes of a size fit.
    fn fits(&self, key: &[u8], value: usize, nodes: usize) -> bool {
        let node = (NODE + key.len() + value).next_multiple_of(ALIGN);
        HEADER + 2 * (self.offsets.len() + nodes) + nodes * node <= self.upper
    }

    /// Adds a node unless it does not fit.
    fn push(&mut self, head: [u16; 3], key: &[u8], value: &[u8]) -> bool {
        if !self.fits(key, value.len(), 1) {
            return false;
        }
        if self.offsets.is_empty() {
            self.first = key.to_vec();
        }
        self.upper -= (NODE + key.len() + value.len()).next_multiple_of(ALIGN);
        let head = head.into_iter().chain([key.len() as u16]);
        let node = head.flat_map(u16::to_le_bytes).chain(key.iter().chain(value).copied());
        for (byte, new) in self.bytes[self.upper..].iter_mut().zip(node) {
            *byte = new;
        }
        self.offsets.push(self.upper as u16);
        true
    }

    fn finish(mut self, number: u64) -> Vec<u8> {
        let lower = HEADER + 2 * self.offsets.len();
        let [a, b] = (lower as u16).to_le_bytes();
        let [c, d] = (self.upper as u16).to_le_bytes();
        self.bytes[..HEADER].copy_from_slice(&header(number, self.kind, [a, b, c, d]));
        for (place, offset) in self.bytes[HEADER..].chunks_exact_mut(2).zip(&self.offsets) {
            place.copy_from_slice(&offset.to_le_bytes());
        }
        self.bytes
    }
}
