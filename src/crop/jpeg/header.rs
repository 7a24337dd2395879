//! What a JPEG file says before its pixels are decoded, checked.

use super::segments::{END, Segments};
use super::tables::{self, Class, Huffman, Quantization};
use crate::crop::decoded::damaged;
use crate::error::ImageError;

/// The most scans: each goes through all blocks, however few bytes code it.
const MAX_SCANS: usize = 100;
/// The most blocks of a minimum coded unit (T.81, section B.2.3).
const MAX_UNIT_BLOCKS: usize = 10;

/// The frame header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    /// 1, 3 or 4 of them.
    pub(super) components: Vec<Component>,
}

/// A component of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors across and down, 1 to 4; those of the frame's largest are a multiple.
    pub(super) sampling: (usize, usize),
    /// The number of the quantisation table, 0 to 3.
    pub(super) quantization: usize,
}

/// A scan: which components, which of their coefficients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan<'a> {
    /// Indices of components, and the numbers of their DC and AC tables.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// The first and the last coefficient of the zigzag.
    pub(super) start: usize,
    pub(super) end: usize,
    /// The bit from which the scan refines, 0 if it is the first; the bit up to which it codes.
    pub(super) high: u8,
    pub(super) low: u8,
    pub(super) coded: &'a [u8],
}

/// What happens after the frame header, in the order of the file; tables before it stand first.
pub(super) enum Step<'a> {
    Quantization(&'a [u8]),
    Huffman(&'a [u8]),
    /// Units between restart markers; 0 for none.
    Restart(u16),
    Scan(Scan<'a>),
}

/// A file that was checked.
pub(super) struct Header<'a> {
    pub(super) frame: Frame,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) colours: Colours,
    pub(super) exif: Option<&'a [u8]>,
    /// Whether the end marker is there.
    pub(super) has_end: bool,
    /// Whether a scan uses a Huffman table that only the standard defines.
    pub(super) needs_standard: bool,
}

/// What the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    Ycc,
    Rgb,
    Cmyk,
    Ycck,
}

/// Quantisation and Huffman tables at some place of a file.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) quantization: [Option<Quantization>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
}

impl Tables {
    pub(super) fn read_quantization(&mut self, payload: &[u8]) -> Result<(), ImageError> {
        tables::quantization(payload, |number, steps| self.quantization[number] = Some(steps))
    }

    pub(super) fn read_huffman(&mut self, payload: &[u8]) -> Result<(), ImageError> {
        tables::huffman(payload, |class, number, table| match class {
            Class::Dc => self.dc[number] = Some(table),
            Class::Ac => self.ac[number] = Some(table),
        })
    }
}

impl<'a> Header<'a> {
    /// Goes through a file once. `check_size` may refuse width and height.
    pub(super) fn read(
        bytes: &'a [u8],
        check_size: impl Fn(usize, usize) -> Result<(), ImageError>,
    ) -> Result<Self, ImageError> {
        let mut segments = Segments::new(bytes);
        let (mut frame, mut steps, mut scans): (Option<Frame>, _, _) = (None, Vec::new(), 0);
        let (mut adobe, mut jfif, mut exif) = (None, false, None);
        let (mut has_end, mut needs_standard) = (false, false);
        // Whether each table is there: four of each kind.
        let (mut quantized, mut coded) = ([false; 4], [[false; 4]; 2]);
        while let Some(segment) = segments.next()? {
            let payload = segment.payload;
            match segment.code {
                END => {
                    has_end = true;
                    break;
                }
                0xc0..=0xc2 if frame.is_none() => {
                    let found = Frame::read(payload, segment.code == 0xc2)?;
                    check_size(found.width, found.height)?;
                    found.check()?;
                    frame = Some(found);
                }
                0xc4 => {
                    tables::huffman(payload, |class, number, _| {
                        coded[usize::from(class == Class::Ac)][number] = true;
                    })?;
                    steps.push(Step::Huffman(payload));
                }
                code @ (0xc0..=0xcf | 0xdc | 0xde | 0xdf) => return Err(unsupported(code, &frame)),
                0xda => {
                    let frame =
                        frame.as_ref().ok_or_else(|| damaged("a JPEG scan without a frame"))?;
                    scans += 1;
                    if scans > MAX_SCANS {
                        return Err(damaged(format!("more than {MAX_SCANS} scans of a JPEG file")));
                    }
                    let scan = Scan::read(payload, frame, segments.coded())?;
                    for &(component, dc, ac) in &scan.components {
                        let quantization = frame.components[component].quantization;
                        if !quantized[quantization] {
                            return Err(damaged(format!(
                                "no JPEG quantisation table {quantization}"
                            )));
                        }
                        let (needs_dc, needs_ac) = scan.needs(frame.progressive);
                        for (class, number, is_needed) in [(0, dc, needs_dc), (1, ac, needs_ac)] {
                            if is_needed && !coded[class][number] {
                                if number > 1 || frame.progressive {
                                    return Err(damaged(format!("no JPEG Huffman table {number}")));
                                }
                                needs_standard = true;
                            }
                        }
                    }
                    steps.push(Step::Scan(scan));
                }
                0xdb => {
                    tables::quantization(payload, |number, _| quantized[number] = true)?;
                    steps.push(Step::Quantization(payload));
                }
                0xdd => {
                    let &[high, low] = payload else {
                        return Err(damaged("a JPEG restart interval is damaged"));
                    };
                    steps.push(Step::Restart(u16::from_be_bytes([high, low])));
                }
                0xe0 => jfif |= payload.starts_with(b"JFIF\0"),
                0xe1 if exif.is_none() => exif = payload.strip_prefix(b"Exif\0\0"),
                0xee if payload.starts_with(b"Adobe") => adobe = payload.get(11).copied().or(adobe),
                _ => {}
            }
        }
        let frame = frame.filter(|_| scans > 0);
        let frame = frame.ok_or_else(|| damaged("the JPEG file is truncated: it has no pixels"))?;
        let colours = Colours::of(&frame, jfif, adobe);
        let header = Header { frame, steps, colours, exif, has_end, needs_standard };
        header.check_length()?;
        if !has_end && !header.is_refined() {
            return Err(damaged("the JPEG file is truncated: scans are missing"));
        }
        Ok(header)
    }

    pub(super) fn scans(&self) -> impl Iterator<Item = &Scan<'a>> {
        self.steps.iter().filter_map(|step| match step {
            Step::Scan(scan) => Some(scan),
            _ => None,
        })
    }

    /// Whether scans code every coefficient to its last bit.
    fn is_refined(&self) -> bool {
        let mut coded = vec![[!self.frame.progressive; 64]; self.frame.components.len()];
        for scan in self.scans().filter(|scan| scan.low == 0) {
            for &(index, ..) in &scan.components {
                coded[index][scan.start..=scan.end].fill(true);
            }
        }
        coded.as_flattened().iter().all(|&is_coded| is_coded)
    }

    /// Refuses files whose scans are too short for their pixels: a block takes at least a bit for its
    /// DC coefficient, without progression one more.
    fn check_length(&self) -> Result<(), ImageError> {
        let least = if self.frame.progressive { 1 } else { 2 };
        let (mut found, mut needed) = (0, 0);
        for index in 0..self.frame.components.len() {
            let (across, down) = self.frame.blocks(index);
            needed += least * across * down;
            if !self.scans().any(|scan| scan.codes_first_dc(index)) {
                return Err(damaged(format!("no JPEG scan of component {index}")));
            }
        }
        for scan in self.scans().filter(|scan| scan.start == 0) {
            found += 8 * scan.coded.len();
        }
        if found < needed {
            return Err(damaged(format!(
                "the JPEG file is truncated: {found} bits cannot hold {needed} bits of pixels"
            )));
        }
        Ok(())
    }
}

fn unsupported(code: u8, frame: &Option<Frame>) -> ImageError {
    damaged(match code {
        0xc0..=0xc2 if frame.is_some() => "a second JPEG frame".to_owned(),
        0xc9..=0xcb => "arithmetic coding of JPEG files is not read".to_owned(),
        0xc3 => "lossless JPEG files are not read".to_owned(),
        _ => format!("JPEG marker {code:#04x} is not read"),
    })
}

impl Frame {
    fn read(payload: &[u8], progressive: bool) -> Result<Self, ImageError> {
        let broken = || damaged("the JPEG file's frame header is damaged");
        let (head, rest) = payload.split_first_chunk::<6>().ok_or_else(broken)?;
        let &[precision, a, b, c, d, count] = head;
        let (height, width) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if precision != 8 {
            return Err(damaged(format!("JPEG samples of {precision} bits, not 8")));
        }
        if width == 0 || height == 0 {
            return Err(ImageError::Empty { width: width.into(), height: height.into() });
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(damaged(format!("{count} JPEG components, not 1, 3 or 4")));
        }
        if rest.len() != 3 * usize::from(count) {
            return Err(broken());
        }
        let component = |bytes: &[u8; 3]| {
            let &[id, sampling, quantization] = bytes;
            let sampling = (usize::from(sampling >> 4), usize::from(sampling & 15));
            Component { id, sampling, quantization: quantization.into() }
        };
        let components = rest.as_chunks::<3>().0.iter().map(component).collect();
        let (width, height) = (width.into(), height.into());
        Ok(Frame { width, height, progressive, components })
    }

    fn check(&self) -> Result<(), ImageError> {
        let (h_max, v_max) = self.sampling();
        for (index, component) in self.components.iter().enumerate() {
            let (h, v) = component.sampling;
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(damaged(format!("JPEG sampling factors {h} x {v}, not 1 to 4")));
            }
            if h_max % h != 0 || v_max % v != 0 {
                let most = format!("{h_max} x {v_max}");
                return Err(damaged(format!(
                    "JPEG sampling factors {h} x {v} do not divide {most}"
                )));
            }
            if component.quantization > 3 {
                let number = component.quantization;
                return Err(damaged(format!("JPEG quantisation table {number}, not 0 to 3")));
            }
            if self.components[..index].iter().any(|other| other.id == component.id) {
                return Err(damaged(format!("two JPEG components {}", component.id)));
            }
        }
        Ok(())
    }

    /// The largest sampling factors, across and down.
    pub(super) fn sampling(&self) -> (usize, usize) {
        let of = |factor: fn(&Component) -> usize| self.components.iter().map(factor).max();
        (of(|c| c.sampling.0).unwrap_or(1), of(|c| c.sampling.1).unwrap_or(1))
    }

    /// Minimum coded units of a scan of several components, across and down.
    pub(super) fn units(&self) -> (usize, usize) {
        let (h, v) = self.sampling();
        (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v))
    }

    /// Samples of a component, across and down.
    pub(super) fn samples(&self, index: usize) -> (usize, usize) {
        let ((h_max, v_max), (h, v)) = (self.sampling(), self.components[index].sampling);
        ((self.width * h).div_ceil(h_max), (self.height * v).div_ceil(v_max))
    }

    /// Blocks that hold a component's samples, across and down.
    pub(super) fn blocks(&self, index: usize) -> (usize, usize) {
        let (width, height) = self.samples(index);
        (width.div_ceil(8), height.div_ceil(8))
    }
}

impl<'a> Scan<'a> {
    fn read(payload: &[u8], frame: &Frame, coded: &'a [u8]) -> Result<Self, ImageError> {
        let broken = || damaged("a JPEG scan header is damaged");
        let (&count, rest) = payload.split_first().ok_or_else(broken)?;
        let count = usize::from(count);
        let &[ref ids @ .., start, end, bits] = rest else { return Err(broken()) };
        if ids.len() != 2 * count || count == 0 {
            return Err(broken());
        }
        let mut components: Vec<(usize, usize, usize)> = Vec::with_capacity(count);
        let mut blocks = 0;
        for &[id, tables] in ids.as_chunks::<2>().0 {
            let index = frame.components.iter().position(|component| component.id == id);
            let index = index.ok_or_else(|| damaged(format!("no JPEG component {id}")))?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 || components.iter().any(|&(other, ..)| other == index) {
                return Err(broken());
            }
            components.push((index, dc, ac));
            let (h, v) = frame.components[index].sampling;
            blocks += h * v;
        }
        if count > 1 && blocks > MAX_UNIT_BLOCKS {
            return Err(damaged(format!("{blocks} blocks of a JPEG unit, not 1 to 10")));
        }
        let (start, end) = (usize::from(start), usize::from(end));
        let (high, low) = (bits >> 4, bits & 15);
        // Without progression these numbers mean nothing.
        if !frame.progressive {
            return Ok(Scan { components, start: 0, end: 63, high: 0, low: 0, coded });
        }
        let is_band = if start == 0 { end == 0 } else { start <= end && end < 64 && count == 1 };
        if !is_band || low > 13 || (high != 0 && high != low + 1) {
            return Err(damaged(format!(
                "a JPEG scan of {count} components, coefficients {start} to {end}, bits {high} to {low}"
            )));
        }
        Ok(Scan { components, start, end, high, low, coded })
    }

    /// Whether it uses DC and AC tables.
    fn needs(&self, progressive: bool) -> (bool, bool) {
        if progressive { (self.start == 0 && self.high == 0, self.start > 0) } else { (true, true) }
    }

    /// Whether it has the first bits of a component's DC coefficients.
    fn codes_first_dc(&self, component: usize) -> bool {
        let has = self.components.iter().any(|&(index, ..)| index == component);
        has && self.start == 0 && self.high == 0
    }
}

impl Colours {
    /// As libjpeg decides it.
    fn of(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Self {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (frame.components.len(), adobe) {
            (1, _) => Colours::Grey,
            (3, _) if jfif => Colours::Ycc,
            (3, Some(0)) => Colours::Rgb,
            (3, None) if ids == *b"RGB" => Colours::Rgb,
            (3, _) => Colours::Ycc,
            (_, None | Some(0)) => Colours::Cmyk,
            _ => Colours::Ycck,
        }
    }
}
