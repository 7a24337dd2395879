//! From coded pixels to coefficients, scan by scan (T.81, annexes F and G).

use super::bits::Bits;
use super::header::{Frame, Header, Scan, Step, Tables};
use super::tables::{Huffman, Quantization, STANDARD, ZIGZAG};
use crate::crop::decoded::damaged;
use crate::error::ImageError;

/// The coefficients of a component, block after block, rows of blocks padded to whole units.
pub(super) struct Coefficients {
    /// `[down][across][64]`, each block row after row.
    pub(super) values: Vec<i16>,
    pub(super) across: usize,
    pub(super) down: usize,
    /// The steps that were valid at the component's first scan.
    pub(super) quantization: Option<Quantization>,
}

/// Decodes all scans. Every pixel must be there.
pub(super) fn decode_scans(header: &Header) -> Result<Vec<Coefficients>, ImageError> {
    let frame = &header.frame;
    let units = frame.units();
    let mut components: Vec<Coefficients> = frame
        .components
        .iter()
        .map(|component| {
            let (h, v) = component.sampling;
            let (across, down) = (units.0 * h, units.1 * v);
            Coefficients { values: vec![0; across * down * 64], across, down, quantization: None }
        })
        .collect();
    let (mut tables, mut interval) = (Tables::default(), 0);
    if header.needs_standard {
        tables.read_huffman(STANDARD)?;
    }
    for step in &header.steps {
        match step {
            Step::Quantization(payload) => tables.read_quantization(payload)?,
            Step::Huffman(payload) => tables.read_huffman(payload)?,
            Step::Restart(units) => interval = usize::from(*units),
            Step::Scan(scan) => {
                for &(index, ..) in &scan.components {
                    let steps = tables.quantization[frame.components[index].quantization];
                    let component = &mut components[index];
                    component.quantization = component.quantization.or(steps);
                }
                decode_scan(frame, scan, &tables, interval, &mut components)?;
            }
        }
    }
    Ok(components)
}

fn decode_scan(
    frame: &Frame,
    scan: &Scan,
    tables: &Tables,
    interval: usize,
    components: &mut [Coefficients],
) -> Result<(), ImageError> {
    let mut state = State { bits: Bits::new(scan.coded), sums: [0; 4], run: 0 };
    let mut block = |state: &mut State, component: usize, x: usize, y: usize| {
        let &(index, dc, ac) = &scan.components[component];
        let coefficients = &mut components[index];
        let place = (y * coefficients.across + x) * 64;
        let values = coefficients.values[place..].first_chunk_mut::<64>();
        let values = values.ok_or_else(|| damaged("a JPEG block lies outside the frame"))?;
        let (dc, ac) = (tables.dc[dc].as_ref(), tables.ac[ac].as_ref());
        if frame.progressive {
            state.progressive(values, component, scan, dc, ac)
        } else {
            state.sequential(values, component, dc, ac)
        }
    };
    let is_single = scan.components.len() == 1;
    let (across, down) = if is_single { frame.blocks(scan.components[0].0) } else { frame.units() };
    let mut restarts = 0;
    for unit in 0..across * down {
        if interval > 0 && unit > 0 && unit % interval == 0 {
            state.bits.restart(restarts)?;
            (state.sums, state.run) = ([0; 4], 0);
            restarts += 1;
        }
        let (x, y) = (unit % across, unit / across);
        if is_single {
            block(&mut state, 0, x, y)?;
            continue;
        }
        for (component, &(index, ..)) in scan.components.iter().enumerate() {
            let (h, v) = frame.components[index].sampling;
            for part in 0..h * v {
                block(&mut state, component, x * h + part % h, y * v + part / h)?;
            }
        }
    }
    Ok(())
}

/// Where a scan has got to.
struct State<'a> {
    bits: Bits<'a>,
    /// The last DC coefficient of each component of the scan.
    sums: [i32; 4],
    /// Blocks whose bands have ended already.
    run: u32,
}

fn no_table() -> ImageError {
    damaged("a JPEG Huffman table is missing")
}

fn beyond() -> ImageError {
    damaged("the JPEG file's pixels are damaged: a coefficient beyond its block")
}

impl State<'_> {
    fn dc(&mut self, component: usize, table: Option<&Huffman>) -> Result<i32, ImageError> {
        let bits = self.bits.symbol(table.ok_or_else(no_table)?)?;
        let difference = self.bits.signed(bits.into())?;
        self.sums[component] = self.sums[component].wrapping_add(difference);
        Ok(self.sums[component])
    }

    fn sequential(
        &mut self,
        values: &mut [i16; 64],
        component: usize,
        dc: Option<&Huffman>,
        ac: Option<&Huffman>,
    ) -> Result<(), ImageError> {
        values[0] = self.dc(component, dc)? as i16;
        let table = ac.ok_or_else(no_table)?;
        let mut at = 1;
        while at < 64 {
            let symbol = self.bits.symbol(table)?;
            let (zeros, bits) = (usize::from(symbol >> 4), symbol & 15);
            match (zeros, bits) {
                (15, 0) => at += 16,
                (_, 0) => break,
                _ => {
                    let &place = ZIGZAG.get(at + zeros).ok_or_else(beyond)?;
                    values[place] = self.bits.signed(bits.into())? as i16;
                    at += zeros + 1;
                }
            }
        }
        Ok(())
    }

    fn progressive(
        &mut self,
        values: &mut [i16; 64],
        component: usize,
        scan: &Scan,
        dc: Option<&Huffman>,
        ac: Option<&Huffman>,
    ) -> Result<(), ImageError> {
        match (scan.start, scan.high) {
            (0, 0) => values[0] = (self.dc(component, dc)? << scan.low) as i16,
            (0, _) => values[0] |= i16::from(self.bits.bit()?) << scan.low,
            (_, 0) => self.first_band(values, scan, ac.ok_or_else(no_table)?)?,
            _ => self.refine_band(values, scan, ac.ok_or_else(no_table)?)?,
        }
        Ok(())
    }

    fn first_band(
        &mut self,
        values: &mut [i16; 64],
        scan: &Scan,
        table: &Huffman,
    ) -> Result<(), ImageError> {
        if self.run > 0 {
            self.run -= 1;
            return Ok(());
        }
        let mut at = scan.start;
        while at <= scan.end {
            let symbol = self.bits.symbol(table)?;
            let (zeros, bits) = (usize::from(symbol >> 4), symbol & 15);
            match (zeros, bits) {
                (15, 0) => at += 16,
                (_, 0) => {
                    self.run = (1 << zeros) - 1 + self.bits.take(zeros as u32)?;
                    break;
                }
                _ => {
                    let &place = ZIGZAG.get(at + zeros).ok_or_else(beyond)?;
                    values[place] = (self.bits.signed(bits.into())? << scan.low) as i16;
                    at += zeros + 1;
                }
            }
        }
        Ok(())
    }

    fn refine_band(
        &mut self,
        values: &mut [i16; 64],
        scan: &Scan,
        table: &Huffman,
    ) -> Result<(), ImageError> {
        let step = 1i16 << scan.low;
        let mut at = scan.start;
        while self.run == 0 && at <= scan.end {
            let symbol = self.bits.symbol(table)?;
            let (mut zeros, bits) = (symbol >> 4, symbol & 15);
            let mut new = 0;
            if bits > 0 {
                new = if self.bits.bit()? { step } else { -step };
            } else if zeros < 15 {
                self.run = (1 << zeros) + self.bits.take(zeros.into())?;
                break;
            }
            while at <= scan.end {
                let value = &mut values[ZIGZAG[at]];
                if *value != 0 {
                    self.refine(value, step)?;
                } else if zeros == 0 {
                    *value = new;
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            at += 1;
        }
        if self.run > 0 {
            for &place in ZIGZAG.get(at..=scan.end).unwrap_or_default() {
                if values[place] != 0 {
                    self.refine(&mut values[place], step)?;
                }
            }
            self.run -= 1;
        }
        Ok(())
    }

    /// One more bit of a coefficient.
    fn refine(&mut self, value: &mut i16, step: i16) -> Result<(), ImageError> {
        if self.bits.bit()? && *value & step == 0 {
            *value = value.wrapping_add(if *value > 0 { step } else { -step });
        }
        Ok(())
    }
}
