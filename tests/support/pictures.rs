//! PNG and JPEG files of any structure, with right checksums and codes, from a source of bytes.

#![allow(dead_code, reason = "each test file uses a part")]

use super::crafted::crc32;

/// Gives the bytes that decide what a picture holds.
pub type Source<'a> = &'a mut dyn FnMut() -> u8;

/// Chunks of a PNG file: kinds and data.
pub type Chunks = Vec<([u8; 4], Vec<u8>)>;

/// Segments of a JPEG file: the marker's code, the payload, and what follows it.
pub type Segments = Vec<(u8, Vec<u8>, Vec<u8>)>;

/// A PNG file of chunks, with right lengths and checksums.
pub fn png(chunks: &Chunks) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(kind);
        file.extend(data);
        file.extend(crc32(&[&kind[..], data].concat()).to_be_bytes());
    }
    file
}

/// A zlib stream of stored blocks.
pub fn zlib(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(65535).peekable();
    if blocks.peek().is_none() {
        stream.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend((block.len() as u16).to_le_bytes());
        stream.extend((!(block.len() as u16)).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

/// The chunks of a valid image of this size, depth and colour type.
pub fn png_chunks(
    (width, height): (u32, u32),
    depth: u8,
    color: u8,
    interlaced: bool,
    source: Source,
) -> Chunks {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([depth, color, 0, 0, u8::from(interlaced)]);
    let mut chunks = vec![(*b"IHDR", header)];
    if color == 3 {
        let colours = 3 << depth.min(8);
        chunks.push((*b"PLTE", (0..colours).map(|_| source()).collect()));
    }
    let channels = [1, 0, 3, 1, 2, 0, 4][usize::from(color)];
    let passes: &[(u32, u32, u32, u32)] = if interlaced {
        &[
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    } else {
        &[(0, 0, 1, 1)]
    };
    let mut rows = Vec::new();
    for &(x, y, dx, dy) in passes {
        let columns = width.saturating_sub(x).div_ceil(dx);
        let bytes = (columns as usize * channels * usize::from(depth)).div_ceil(8);
        if columns > 0 {
            for _ in (y..height).step_by(dy as usize) {
                rows.push(source() % 5);
                rows.extend((0..bytes).map(|_| source()));
            }
        }
    }
    chunks.push((*b"IDAT", zlib(&rows)));
    chunks.push((*b"IEND", Vec::new()));
    chunks
}

/// A JPEG file of segments.
pub fn jpeg(segments: &Segments) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    for (code, payload, coded) in segments {
        file.extend([0xff, *code]);
        file.extend((payload.len() as u16 + 2).to_be_bytes());
        file.extend(payload);
        file.extend(coded);
    }
    file.extend([0xff, 0xd9]);
    file
}

/// What a JPEG file is to be.
#[derive(Debug, Clone)]
pub struct Jpeg {
    pub width: u16,
    pub height: u16,
    /// Of each component, across and down.
    pub sampling: Vec<(u8, u8)>,
    pub progressive: bool,
    /// Components share scans.
    pub interleaved: bool,
    /// Units between restart markers, 0 for none.
    pub restart: u16,
    /// The colours that Adobe's segment states.
    pub adobe: Option<u8>,
}

/// Blocks of a component, in the order of the zigzag.
struct Blocks {
    across: usize,
    down: usize,
    /// Those that hold pixels.
    real: (usize, usize),
    values: Vec<[i16; 64]>,
}

/// The segments of a valid image whose coefficients come from the source.
pub fn jpeg_segments(spec: &Jpeg, source: Source) -> Segments {
    let most = |of: fn(&(u8, u8)) -> u8| spec.sampling.iter().map(of).max().unwrap_or(1);
    let (h_max, v_max) = (usize::from(most(|s| s.0)), usize::from(most(|s| s.1)));
    let (width, height) = (usize::from(spec.width), usize::from(spec.height));
    let units = (width.div_ceil(8 * h_max), height.div_ceil(8 * v_max));
    let components: Vec<Blocks> = spec
        .sampling
        .iter()
        .map(|&(h, v)| {
            let (h, v) = (usize::from(h), usize::from(v));
            let (across, down) = (units.0 * h, units.1 * v);
            let real =
                ((width * h).div_ceil(h_max).div_ceil(8), (height * v).div_ceil(v_max).div_ceil(8));
            let mut block = || {
                let mut block = [0; 64];
                block[0] = i16::from(source() as i8);
                for _ in 0..source() % 4 {
                    block[1 + usize::from(source() % 63)] = i16::from(source() as i8 >> 2);
                }
                block
            };
            Blocks { across, down, real, values: (0..across * down).map(|_| block()).collect() }
        })
        .collect();
    let mut segments = Vec::new();
    if let Some(transform) = spec.adobe {
        segments.push((0xee, [&b"Adobe\0\x64\0\0\0\0"[..], &[transform]].concat(), Vec::new()));
    }
    let mut steps = vec![0];
    steps.extend((0..64).map(|_| 1 + source() % 16));
    segments.push((0xdb, steps, Vec::new()));
    let mut frame = vec![8];
    frame.extend(spec.height.to_be_bytes());
    frame.extend(spec.width.to_be_bytes());
    frame.push(spec.sampling.len() as u8);
    for (id, &(h, v)) in (1u8..).zip(&spec.sampling) {
        frame.extend([id, h << 4 | v, 0]);
    }
    segments.push((if spec.progressive { 0xc2 } else { 0xc0 }, frame, Vec::new()));
    segments.push((0xc4, tables(), Vec::new()));
    if spec.restart > 0 {
        segments.push((0xdd, spec.restart.to_be_bytes().to_vec(), Vec::new()));
    }
    let all: Vec<usize> = (0..components.len()).collect();
    let groups: Vec<Vec<usize>> =
        if spec.interleaved { vec![all.clone()] } else { all.iter().map(|&c| vec![c]).collect() };
    let mut scan = |members: &[usize], start: u8, end: u8, high: u8, low: u8| {
        let mut payload = vec![members.len() as u8];
        members.iter().for_each(|&member| payload.extend([member as u8 + 1, 0]));
        payload.extend([start, end, high << 4 | low]);
        let band = Band { start, end, high, low, progressive: spec.progressive };
        let coded = coded(&components, members, spec, units, band);
        segments.push((0xda, payload, coded));
    };
    if !spec.progressive {
        groups.iter().for_each(|group| scan(group, 0, 63, 0, 0));
        return segments;
    }
    groups.iter().for_each(|group| scan(group, 0, 0, 0, 1));
    for &component in &all {
        scan(&[component], 1, 5, 0, 2);
        scan(&[component], 6, 63, 0, 1);
        scan(&[component], 1, 5, 2, 1);
    }
    groups.iter().for_each(|group| scan(group, 0, 0, 1, 0));
    all.iter().for_each(|&component| scan(&[component], 1, 63, 1, 0));
    segments
}

/// Codes that are simple to write: sums of 5 bits; of the other symbols 128 have 8 bits, 128 have 9.
fn tables() -> Vec<u8> {
    let mut payload = vec![0x00];
    payload.extend((1..=16).map(|length| if length == 5 { 16 } else { 0 }));
    payload.extend(0..16);
    payload.push(0x10);
    payload.extend((1..=16).map(|length| if length == 8 || length == 9 { 128 } else { 0 }));
    payload.extend(0..=255);
    payload
}

#[derive(Clone, Copy)]
struct Band {
    start: u8,
    end: u8,
    high: u8,
    low: u8,
    progressive: bool,
}

/// Bits of a scan, with a zero behind each 0xff.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    waiting: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, bits: u32, count: u32) {
        for bit in (0..count).rev() {
            self.waiting = self.waiting << 1 | (bits >> bit & 1);
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.waiting as u8);
                if self.waiting == 0xff {
                    self.bytes.push(0);
                }
                (self.waiting, self.count) = (0, 0);
            }
        }
    }

    /// Fills the last byte with ones.
    fn flush(&mut self) {
        while self.count > 0 {
            self.put(1, 1);
        }
    }

    fn symbol(&mut self, symbol: u8) {
        match symbol {
            0..128 => self.put(symbol.into(), 8),
            _ => self.put(256 + u32::from(symbol) - 128, 9),
        }
    }

    fn sum(&mut self, difference: i32) {
        let size = bits_of(difference);
        self.put(size, 5);
        self.signed(difference, size);
    }

    fn signed(&mut self, value: i32, size: u32) {
        let bits = if value < 0 { value - 1 } else { value };
        self.put(bits as u32 & ((1 << size) - 1), size);
    }
}

fn bits_of(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

fn coded(
    components: &[Blocks],
    members: &[usize],
    spec: &Jpeg,
    units: (usize, usize),
    band: Band,
) -> Vec<u8> {
    let mut bits = Bits::default();
    let mut sums = [0; 4];
    let (across, down) = if let &[member] = members { components[member].real } else { units };
    for unit in 0..across * down {
        let restart = usize::from(spec.restart);
        if restart > 0 && unit > 0 && unit % restart == 0 {
            bits.flush();
            bits.bytes.extend([0xff, 0xd0 | ((unit / restart - 1) % 8) as u8]);
            sums = [0; 4];
        }
        let (x, y) = (unit % across, unit / across);
        for &member in members {
            let blocks = &components[member];
            let (h, v) = spec.sampling[member];
            let (h, v) = if members.len() == 1 { (1, 1) } else { (h.into(), v.into()) };
            for part in 0..h * v {
                let (x, y) = (x * h + part % h, y * v + part / h);
                assert!(x < blocks.across && y < blocks.down);
                block(&mut bits, &blocks.values[y * blocks.across + x], &mut sums[member], band);
            }
        }
    }
    bits.flush();
    bits.bytes
}

/// One block of a scan.
fn block(bits: &mut Bits, values: &[i16; 64], sum: &mut i32, band: Band) {
    let Band { start, end, high, low, progressive } = band;
    if start == 0 && high > 0 {
        bits.put(u32::from(values[0] >> low & 1 == 1), 1);
        return;
    }
    if start == 0 {
        let value = i32::from(values[0]) >> low;
        bits.sum(value - *sum);
        *sum = value;
    }
    if progressive && start == 0 {
        return;
    }
    // Towards zero, unlike sums.
    let shifted = |value: i16, low: u8| i32::from(value) / (1 << low);
    let (mut zeros, mut corrections) = (0, Vec::new());
    let last = |place: &usize| shifted(values[*place], low) != 0;
    let Some(last) = (usize::from(start.max(1))..=usize::from(end)).rev().find(last) else {
        bits.symbol(0);
        return;
    };
    for &coefficient in &values[usize::from(start.max(1))..=last] {
        let value = shifted(coefficient, low);
        if high > 0 && shifted(coefficient, high) != 0 {
            corrections.push(value.unsigned_abs() & 1);
            continue;
        }
        if value == 0 {
            zeros += 1;
            if zeros == 16 {
                bits.symbol(0xf0);
                corrections.drain(..).for_each(|bit| bits.put(bit, 1));
                zeros = 0;
            }
            continue;
        }
        let size = bits_of(value);
        bits.symbol((zeros << 4) as u8 | size as u8);
        bits.signed(value, size);
        corrections.drain(..).for_each(|bit| bits.put(bit, 1));
        zeros = 0;
    }
    // What is left of the block: zeros, and what is refined.
    if !corrections.is_empty() || last < usize::from(end) {
        bits.symbol(0);
        corrections.drain(..).for_each(|bit| bits.put(bit, 1));
    }
}
