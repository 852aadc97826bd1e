//! What the checks share: numbers that provoke mistakes, matrices in every format, activations that own their memory.

use crate::arithmetic::BLOCK;
use crate::arithmetic::activation::Activations;
use crate::arithmetic::block::Block;
use crate::arithmetic::half::f16_to_f32;
use crate::format::Format;
use crate::format::pack::pack_panel;
use crate::kernels::{CpuFeatures, Kernels};
use crate::memory::TensorRegion;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

/// The table that states what all others must give.
pub fn portable() -> &'static Kernels {
    Kernels::choose(&CpuFeatures::detect(), Some("portable")).unwrap()
}

/// Equal to the bit; two NaNs count as equal (the contract leaves their payload open).
pub fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Set where the processor is an emulator that rounds an f32 half-way between two f16 up, not to the even one, as Bochs 2.7
/// does and no real processor: then conversions of such numbers are not compared.
pub static ARE_HALF_TIES_WRONG: AtomicBool = AtomicBool::new(false);

/// Whether `got` is the f16 of `x` as `expected` is; two NaNs count as equal.
pub fn same_half(x: f32, got: u16, expected: u16) -> bool {
    let is_nan = |h: u16| h & 0x7FFF > 0x7C00;
    // Exact: the sum of neighbours has one bit more than they.
    let is_tie = || (f16_to_f32(got) + f16_to_f32(expected)) / 2.0 == x;
    let is_excused = || ARE_HALF_TIES_WRONG.load(Ordering::Relaxed) && got.abs_diff(expected) == 1 && is_tie();
    got == expected || (is_nan(got) && is_nan(expected)) || is_excused()
}

/// Panics with the first element that differs.
#[track_caller]
pub fn assert_same(got: &[f32], expected: &[f32], what: impl FnOnce() -> String) {
    assert_eq!(got.len(), expected.len());
    if let Some(i) = (0..got.len()).find(|&i| !same(got[i], expected[i])) {
        panic!(
            "{}: element {i} is {:e} ({:#010x}), expected {:e} ({:#010x})",
            what(),
            got[i],
            got[i].to_bits(),
            expected[i],
            expected[i].to_bits()
        );
    }
}

/// Most bytes of a [`Memory`].
const MEMORY_MAX: usize = 8 << 20;

/// Zeroed memory that a region can be carved from.
pub struct Memory(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; 64],
}

impl Memory {
    /// Room for `bytes`, of which a request may not need more than a small machine has.
    ///
    /// # Errors
    ///
    /// What was expected instead.
    pub fn new(bytes: usize) -> Result<Memory, String> {
        if bytes > MEMORY_MAX {
            return Err(format!("expected sizes that need {MEMORY_MAX} bytes at most, these need {bytes}"));
        }
        Ok(Memory(vec![Line { _bytes: [0; 64] }; bytes.div_ceil(64).max(1)]))
    }

    /// The region of all of it. What is carved must not outlive the memory, nor be carved twice.
    pub fn region(&mut self) -> TensorRegion {
        let base = NonNull::from(&mut self.0[0]).cast();
        // SAFETY: aligned as its lines are, zeroed, and the caller's alone.
        unsafe { TensorRegion::new(base, self.0.len() * size_of::<Line>()) }
    }
}

/// SplitMix64: the same numbers on every run and machine.
pub struct Random(pub u64);

impl Random {
    /// 64 bits.
    #[expect(clippy::should_implement_trait)] // it never ends
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Roughly normal, f32.
    pub fn normal(&mut self) -> f32 {
        let sum: i64 = (0..4).map(|_| (self.next() >> 40) as i64 - (1 << 23)).sum();
        sum as f32 / (1 << 23) as f32
    }

    /// Any finite f32: every exponent is as likely as every other.
    pub fn finite(&mut self) -> f32 {
        loop {
            let x = f32::from_bits(self.next() as u32);
            if x.is_finite() {
                return x;
            }
        }
    }

    /// Any bytes.
    pub fn bytes(&mut self, out: &mut [u8]) {
        out.iter_mut().for_each(|byte| *byte = self.next() as u8);
    }
}

/// f32 values at which something changes: zeros, subnormals, ties, powers of two, infinities' neighbours, exp's limits.
pub const SPECIAL: [f32; 28] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    127.0,
    -127.0,
    126.5,
    1e-45,
    -1e-45,
    1.1754942e-38,
    -1.1754944e-38,
    3.4028235e38,
    -3.4028235e38,
    65504.0,
    65519.996,
    65520.0,
    -65536.0,
    88.0,
    88.00001,
    -87.0,
    -87.00001,
    5.9604645e-8,
    2.9802322e-8,
];

/// f16 bits of the same kind, finite.
const SPECIAL_F16: [u16; 12] =
    [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x2E66, 0x83FF];

/// How activations are chosen.
#[derive(Clone, Copy, Debug)]
pub enum X {
    /// Roughly normal.
    Normal,
    /// All of the same magnitude, so that every code is 127 or −127; a sign pattern of prime period.
    Largest,
    /// All equal: every code is 127. The sums of products are as large as they get.
    AllLargest,
    /// Blocks of zeros, subnormals, tiny and huge numbers among ordinary ones.
    Special,
}

/// All of them.
pub const X_KINDS: [X; 4] = [X::Normal, X::Largest, X::AllLargest, X::Special];

/// `n` activations.
pub fn activations(kind: X, n: usize, random: &mut Random) -> Vec<f32> {
    let shift = random.below(11);
    (0..n)
        .map(|i| match kind {
            X::Normal => random.normal(),
            X::Largest => {
                if [0, 2, 3, 7, 8].contains(&((i + shift) % 11)) {
                    -1.75
                } else {
                    1.75
                }
            }
            X::AllLargest => {
                if shift.is_multiple_of(2) {
                    0.3
                } else {
                    -0.3
                }
            }
            X::Special => match (i / BLOCK + shift) % 7 {
                0 => 0.0 * random.normal(),
                1 => random.normal() * f32::from_bits(0x0D00_0000), // around 2^-101, where a block begins to count as zero
                2 => f32::from_bits((random.next() as u32) & 0x8000_00FF),
                3 => random.normal() * 1e18,
                4 => SPECIAL[random.below(12)],
                5 => random.normal() * if random.below(32) == 0 { 1e4 } else { 1e-4 },
                _ => (random.below(255) as f32 - 127.0) / 2.0, // ties of the rounding
            },
        })
        .collect()
}

/// Rows of activations in memory of their own, quantised by a table and laid out in its tiles.
pub struct Owned {
    /// Rows.
    pub n_row: usize,
    /// Blocks of a row.
    pub n_block: usize,
    widest: usize,
    x: Vec<f32>,
    blocks: Vec<Block>,
}

impl Owned {
    /// Pads each row of `n_col` to whole blocks and quantises it, in pieces of up to three blocks.
    pub fn new(table: &Kernels, x: &[f32], n_row: usize, n_col: usize) -> Owned {
        let n_block = n_col.div_ceil(BLOCK);
        let mut padded = vec![0f32; n_row * n_block * BLOCK];
        for t in 0..n_row {
            padded[t * n_block * BLOCK..][..n_col].copy_from_slice(&x[t * n_col..][..n_col]);
        }
        let unwritten = Block { q: [99; BLOCK], d: 9.0, m: 9.0, s: [9; 2], eight_sum: 9 };
        let mut owned =
            Owned { n_row, n_block, widest: table.tile, x: padded, blocks: vec![unwritten; n_row * n_block] };
        let activations = owned.activations();
        for row in 0..n_row {
            for start in (0..n_block).step_by(3) {
                // SAFETY: the table is usable; the row exists and has that many blocks.
                unsafe { (table.quantize)(&activations, row, start, n_block.min(start + 3)) };
            }
        }
        owned
    }

    /// As the kernels take them.
    pub fn activations(&mut self) -> Activations {
        Activations {
            x: self.x.as_mut_ptr(),
            blocks: self.blocks.as_mut_ptr(),
            n_block: self.n_block,
            n_row: self.n_row,
            widest: self.widest,
        }
    }

    /// Block `b` of `row`, wherever the layout has it.
    pub fn block(&mut self, row: usize, b: usize) -> Block {
        assert!(row < self.n_row && b < self.n_block);
        let n_all = self.blocks.len();
        // SAFETY: the row and the block exist; the assertion sees that the layout keeps to the array.
        unsafe {
            let block = self.activations().block(row, b);
            assert!((block.offset_from(self.blocks.as_ptr()) as usize) < n_all);
            *block
        }
    }
}

/// Bytes of a block, and the offsets of its f16 fields.
pub fn block_shape(format: Format) -> (usize, &'static [usize]) {
    match format {
        Format::F32 => (4, &[]),
        Format::F16 | Format::BF16 => (2, &[]),
        Format::Q8_0 => (34, &[0]),
        Format::Q4_0 => (18, &[0]),
        Format::Q4_1 => (20, &[0, 2]),
        Format::Q5_0 => (22, &[0]),
        Format::Q5_1 => (24, &[0, 2]),
        Format::Q2K => (84, &[80, 82]),
        Format::Q3K => (110, &[108]),
        Format::Q4K => (144, &[0, 2]),
        Format::Q5K => (176, &[0, 2]),
        Format::Q6K => (210, &[208]),
    }
}

/// How weights are chosen.
#[derive(Clone, Copy, Debug)]
pub enum W {
    /// Random codes, scales of ordinary size.
    Random,
    /// Random codes; subnormal, negative, zero and largest scales.
    SpecialScales,
    /// Every byte of every code the same: all largest, all zero, or −128 in Q8_0 and in the scales of Q6_K.
    Constant(u8),
}

/// All of them.
pub const W_KINDS: [W; 6] =
    [W::Random, W::SpecialScales, W::Constant(0xFF), W::Constant(0x00), W::Constant(0x80), W::Constant(0x7F)];

/// GGUF rows.
pub fn weights(kind: W, format: Format, n_row: usize, n_col: usize, random: &mut Random) -> Vec<u8> {
    let mut rows = vec![0u8; n_row * format.bytes_row(n_col).unwrap()];
    let special = matches!(kind, W::SpecialScales);
    match format {
        Format::F32 => rows.chunks_exact_mut(4).for_each(|w| {
            let x = if special { SPECIAL[random.below(16)] } else { random.normal() };
            w.copy_from_slice(&x.to_le_bytes());
        }),
        Format::F16 => rows.chunks_exact_mut(2).for_each(|w| w.copy_from_slice(&scale(special, random).to_le_bytes())),
        Format::BF16 => rows.chunks_exact_mut(2).for_each(|w| {
            let x = if special { SPECIAL[random.below(16)] } else { random.normal() };
            w.copy_from_slice(&x.to_le_bytes()[2..]);
        }),
        _ => {
            match kind {
                W::Constant(byte) => rows.fill(byte),
                _ => random.bytes(&mut rows),
            }
            let (bytes, scales) = block_shape(format);
            for block in rows.chunks_exact_mut(bytes) {
                for &offset in scales {
                    block[offset..offset + 2].copy_from_slice(&scale(special, random).to_le_bytes());
                }
            }
        }
    }
    rows
}

/// f16 bits: any finite number of ordinary size, or a special one.
fn scale(special: bool, random: &mut Random) -> u16 {
    if special && random.below(2) == 0 {
        return SPECIAL_F16[random.below(SPECIAL_F16.len())];
    }
    let exponent = 5 + random.below(12) as u16;
    (random.next() as u16 & 0x83FF) | exponent << 10
}

/// The panels of a matrix, one after the other.
pub fn panels(format: Format, rows: &[u8], n_row: usize, n_col: usize) -> Vec<u8> {
    let (bytes_row, bytes_panel) = (format.bytes_row(n_col).unwrap(), format.bytes_panel(n_col).unwrap());
    let mut panels = vec![0xFF; n_row.div_ceil(16) * bytes_panel];
    for (panel, rows) in panels.chunks_exact_mut(bytes_panel).zip(rows.chunks(16 * bytes_row)) {
        pack_panel(format, rows, n_col, panel);
    }
    panels
}

/// Product of all panels with all rows of `x`: `[n_row of x][n_row of the matrix, rounded up to 16]`.
pub fn product(table: &Kernels, format: Format, panels: &[u8], n_col: usize, x: &mut Owned) -> Vec<f32> {
    product_of_rows(table, format, panels, n_col, x, (0, x.n_row))
}

/// The same for rows `start` … `end − 1`, which are at tile boundaries.
pub fn product_of_rows(
    table: &Kernels,
    format: Format,
    panels: &[u8],
    n_col: usize,
    x: &mut Owned,
    (start, end): (usize, usize),
) -> Vec<f32> {
    let bytes_panel = format.bytes_panel(n_col).unwrap();
    let stride = panels.len() / bytes_panel * 16;
    let mut out = vec![f32::NAN; (end - start) * stride];
    let panels = (panels.as_ptr(), panels.len() / bytes_panel);
    // SAFETY: the table is usable and laid out `x`; the panels are whole, `out` has 16 values for each panel and row.
    unsafe { table.multiply(format, panels, &x.activations(), (start, end), out.as_mut_ptr(), stride) };
    out
}
