//! What the fuzz targets share: a budget of memory, and a reader that makes values of bytes.

#[cfg(feature = "train")]
pub mod checkpoints;
#[path = "../../tests/support/crafted.rs"]
pub mod crafted;
#[path = "../../tests/support/graphs.rs"]
pub mod graphs;
#[path = "../../tests/support/pictures.rs"]
pub mod pictures;
pub mod quantized;
pub mod seeds;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Once, OnceLock};

use svtrv2::model::EncoderConfig;
use svtrv2::weights::{DetectorWeights, Weights};
use svtrv2::{Charset, Options, Precision, Recognizer};

/// Ends the process when an input takes more memory than its target permits.
struct Budget;

static USED: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn add(bytes: usize) {
    let used = USED.fetch_add(bytes, Relaxed) + bytes;
    let limit = LIMIT.load(Relaxed);
    if used > limit {
        // The message itself allocates.
        LIMIT.store(usize::MAX, Relaxed);
        panic!("{used} bytes are allocated, the limit is {limit}; the last block has {bytes}");
    }
}

// SAFETY: everything is the system allocator's; a panic aborts.
unsafe impl GlobalAlloc for Budget {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Budget = Budget;

/// Makes this thread the only one of the pool: handing work to another costs more than most inputs do.
pub fn single_thread() {
    static POOL: Once = Once::new();
    POOL.call_once(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
        pool.build_global().expect("the first pool of the process");
    });
}

/// Runs with at most so many bytes more than are allocated now. `SVTRV2_BUDGET` sets another budget
/// for all targets: a small one shows that they fail above it.
pub fn within<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    single_thread();
    static BUDGET: OnceLock<Option<usize>> = OnceLock::new();
    let own = BUDGET.get_or_init(|| std::env::var("SVTRV2_BUDGET").ok()?.parse().ok());
    let bytes = own.unwrap_or(bytes);
    LIMIT.store(USED.load(Relaxed).saturating_add(bytes), Relaxed);
    let result = run();
    LIMIT.store(usize::MAX, Relaxed);
    result
}

pub const MB: usize = 1 << 20;

/// Opens weights, reads every parameter, builds the network in f32 and in int8, and recognises a
/// small crop.
pub fn open_weights(bytes: Vec<u8>) {
    let budget = 16 * MB + 300 * bytes.len();
    within(budget, || {
        if let Ok(weights) = DetectorWeights::from_bytes(bytes.clone()) {
            let _ = weights.model();
        }
        let Ok(weights) = Weights::from_bytes(bytes) else {
            return;
        };
        let names: Vec<String> = weights.names().map(str::to_owned).collect();
        for name in &names {
            let _ = weights.tensor(name);
            let _ = weights.quantized_tensor(name);
        }
        // Kernels pad small parameters: the work is bounded by the blocks, not the bytes.
        let config = weights.config();
        let small = match &config.encoder {
            EncoderConfig::Svtr(encoder) => {
                let blocks: usize = encoder.stages.iter().map(|stage| stage.blocks()).sum();
                let stages = &mut encoder.stages.iter();
                blocks <= 8 && stages.all(|stage| stage.dim <= 64 && stage.mlp_dim <= 256)
            }
            EncoderConfig::RepVit(encoder) => {
                encoder.stem_dim <= 64
                    && encoder.blocks.len() <= 8
                    && encoder.blocks.iter().all(|block| block.dim <= 64)
            }
            _ => false,
        };
        if !small {
            return;
        }
        let classes = config.num_classes;
        let charset = weights
            .charset()
            .cloned()
            .or_else(|| Charset::new((1..classes).map(|class| format!("<{class}>"))).ok());
        for precision in [Precision::F32, Precision::Int8] {
            let (charset, precision) = (charset.clone(), Some(precision));
            let options = Options { charset, precision, ..Options::default() };
            if let Ok(recognizer) = Recognizer::new(&weights, options) {
                let pixels = [128; 3 * 8 * 8];
                let crop = svtrv2::Crop::from_raw(svtrv2::PixelFormat::Rgb8, 8, 8, 24, &pixels);
                let _ = recognizer.recognize(crop.expect("a crop of 8 x 8"));
            }
        }
    });
}

/// Takes values from bytes; behind their end everything is 0.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Any number, the special ones often.
    pub fn f32(&mut self) -> f32 {
        const SPECIAL: [f32; 8] = [
            0.0,
            -0.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
            1.0,
        ];
        match self.byte() {
            kind @ 0..8 => SPECIAL[usize::from(kind)],
            8..128 => f32::from(i16::from_le_bytes([self.byte(), self.byte()])) / 256.0,
            _ => f32::from_bits(self.u64() as u32),
        }
    }

    /// Any number, the extreme ones often.
    pub fn usize(&mut self) -> usize {
        match self.byte() {
            0 => usize::MAX,
            1 => usize::MAX / 2 + 1,
            2 => self.u64() as usize,
            small => usize::from(small - 3),
        }
    }

    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let count = self.below(most + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    pub fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(self.take(most)).into_owned()
    }
}
