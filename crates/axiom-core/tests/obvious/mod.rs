//! Sections 2 to 4 of `docs/arithmetic.md` and the GGUF block layouts, each stated the shortest way: no vectors, no panels,
//! nothing shared with the code that it tests.

use axiom_core::arithmetic::block::Block;
use axiom_core::format::Format;

/// `sum16` of section 2.
pub fn sum16(x: &[f32]) -> f32 {
    let mut p = [0f32; 16];
    for (i, x) in x.iter().enumerate() {
        p[i % 16] += x;
    }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            p[l] += p[l + half];
        }
    }
    p[0]
}

/// Section 3: one block.
pub fn quantize(x: &[f32]) -> Block {
    let mut block = Block { q: [0; 32], d: 0.0, m: 0.0, s: [0; 2], eight_sum: 0 };
    let a = x.iter().map(|x| x.to_bits() & 0x7FFF_FFFF).max().unwrap();
    if a >= 0x7F80_0000 {
        block.d = f32::NAN;
    } else if a >= 0x0D80_0000 {
        let a = f32::from_bits(a);
        block.d = a / 127.0;
        let inv = 127.0 / a;
        for (i, x) in x.iter().enumerate() {
            block.q[i] = (x * inv).round_ties_even() as i8;
            block.s[i / 16] += i16::from(block.q[i]);
            block.eight_sum += 8 * i32::from(block.q[i]);
        }
    }
    block.m = block.d * (block.eight_sum / 8) as f32;
    block
}

/// Section 4: one row with one vector.
pub fn dot(format: Format, row: &[u8], x: &[f32]) -> f32 {
    let mut acc = 0f32;
    if !format.is_quantized() {
        let n_byte = row.len() / x.len();
        let w: Vec<f32> = row.chunks_exact(n_byte).map(|bytes| number(format, bytes)).collect();
        for (w, x) in w.chunks(32).zip(x.chunks(32)) {
            let mut p = 0f32;
            for (w, x) in w.iter().zip(x) {
                p += w * x;
            }
            acc += p;
        }
        return acc;
    }
    let blocks = decode(format, row);
    for (w, x) in blocks.iter().zip(x.chunks(32)) {
        let x = quantize(x);
        let partial = |range: core::ops::Range<usize>| -> i32 {
            range.map(|i| (i32::from(w.code[i]) - w.zero) * i32::from(x.q[i])).sum()
        };
        match w.scale {
            Scale::One(d) => acc += (d * x.d) * partial(0..32) as f32,
            Scale::WithMin(d, m) => {
                acc += (d * x.d) * partial(0..32) as f32;
                acc += m * x.m;
            }
            Scale::Halves(d, sc) => {
                let i = sc[0] * partial(0..16) + sc[1] * partial(16..32);
                acc += (d * x.d) * i as f32;
            }
            Scale::HalvesWithMin(d, d_min, sc, mn) => {
                let i = sc[0] * partial(0..16) + sc[1] * partial(16..32);
                let j = mn[0] * i32::from(x.s[0]) + mn[1] * i32::from(x.s[1]);
                acc += (d * x.d) * i as f32;
                acc -= (d_min * x.d) * j as f32;
            }
        }
    }
    acc
}

fn number(format: Format, bytes: &[u8]) -> f32 {
    match format {
        Format::F32 => f32::from_le_bytes(bytes.try_into().unwrap()),
        Format::F16 => half(bytes, 0),
        _ => f32::from_bits(u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 24),
    }
}

/// An f16 at an offset, as f32, with arithmetic alone (finite numbers).
fn half(bytes: &[u8], at: usize) -> f32 {
    let h = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let mantissa = f32::from(h & 0x3FF) / 1024.0;
    let exponent = i32::from(h >> 10 & 31);
    let magnitude = if exponent == 0 { mantissa * 2f32.powi(-14) } else { (1.0 + mantissa) * 2f32.powi(exponent - 15) };
    if h >> 15 == 1 { -magnitude } else { magnitude }
}

/// 32 weights: codes, their zero, their scales.
struct Weights {
    code: [u8; 32],
    zero: i32,
    scale: Scale,
}

enum Scale {
    One(f32),
    WithMin(f32, f32),
    Halves(f32, [i32; 2]),
    HalvesWithMin(f32, f32, [i32; 2], [i32; 2]),
}

/// The blocks of 32 of a row. Codes are read by their number within the GGUF block, as the layouts are usually written.
fn decode(format: Format, row: &[u8]) -> Vec<Weights> {
    let (bytes, n) = match format {
        Format::Q8_0 => (34, 1),
        Format::Q4_0 => (18, 1),
        Format::Q4_1 => (20, 1),
        Format::Q5_0 => (22, 1),
        Format::Q5_1 => (24, 1),
        Format::Q2K => (84, 8),
        Format::Q3K => (110, 8),
        Format::Q4K => (144, 8),
        Format::Q5K => (176, 8),
        Format::Q6K => (210, 8),
        _ => unreachable!(),
    };
    row.chunks_exact(bytes).flat_map(|b| (0..n).map(move |i| decode_block(format, b, i))).collect()
}

/// Block `i` of 32 within a GGUF block.
fn decode_block(format: Format, b: &[u8], i: usize) -> Weights {
    let nibble = |bytes: &[u8], j: usize| if j < 16 { bytes[j] & 15 } else { bytes[j - 16] >> 4 };
    let bit = |bytes: &[u8], j: usize| bytes[j / 8] >> (j % 8) & 1;
    let make =
        |zero: i32, scale: Scale, code: &dyn Fn(usize) -> u8| Weights { code: core::array::from_fn(code), zero, scale };
    match format {
        Format::Q8_0 => make(128, Scale::One(half(b, 0)), &|j| b[2 + j].wrapping_add(128)),
        Format::Q4_0 => make(8, Scale::One(half(b, 0)), &|j| nibble(&b[2..], j)),
        Format::Q4_1 => make(0, Scale::WithMin(half(b, 0), half(b, 2)), &|j| nibble(&b[4..], j)),
        Format::Q5_0 => make(16, Scale::One(half(b, 0)), &|j| nibble(&b[6..], j) + 16 * bit(&b[2..], j)),
        Format::Q5_1 => make(0, Scale::WithMin(half(b, 0), half(b, 2)), &|j| nibble(&b[8..], j) + 16 * bit(&b[4..], j)),
        Format::Q4K | Format::Q5K => {
            let s = &b[4..16];
            let (sc, mn) = match i {
                0..4 => (s[i] % 64, s[i + 4] % 64),
                _ => (s[i + 4] % 16 + s[i - 4] / 64 * 16, s[i + 4] / 16 + s[i] / 64 * 16),
            };
            let scale = Scale::WithMin(half(b, 0) * f32::from(sc), -(half(b, 2) * f32::from(mn)));
            let low = |bytes: &[u8], j: usize| {
                if i.is_multiple_of(2) { bytes[i / 2 * 32 + j] % 16 } else { bytes[i / 2 * 32 + j] / 16 }
            };
            match format {
                Format::Q4K => make(0, scale, &|j| low(&b[16..], j)),
                _ => make(0, scale, &|j| low(&b[48..], j) + 16 * (b[16 + j] >> i & 1)),
            }
        }
        Format::Q6K => {
            // Weight 128 h + 32 k + j: low half from byte 64 h + 32 (k mod 2) + j, upper pair k of byte 32 h + j.
            let (h, k) = (i / 4, i % 4);
            let sc = [0, 1].map(|s| i32::from(b[192 + 2 * i + s] as i8));
            make(32, Scale::Halves(half(b, 208), sc), &|j| {
                let low = b[64 * h + 32 * (k % 2) + j] >> (4 * (k / 2)) & 15;
                low + 16 * (b[128 + 32 * h + j] >> (2 * k) & 3)
            })
        }
        Format::Q3K => {
            let s = &b[96..108];
            let sc = [0, 1].map(|n| {
                let n = 2 * i + n;
                let low = if n < 8 { s[n] % 16 } else { s[n - 8] / 16 };
                i32::from(low) + 16 * i32::from(s[8 + n % 4] >> (2 * (n / 4)) & 3) - 32
            });
            make(4, Scale::Halves(half(b, 108), sc), &|j| {
                (b[32 + 32 * (i / 4) + j] >> (2 * (i % 4)) & 3) + 4 * (b[j] >> i & 1)
            })
        }
        Format::Q2K => {
            let sc = [0, 1].map(|n| i32::from(b[2 * i + n] % 16));
            let mn = [0, 1].map(|n| i32::from(b[2 * i + n] / 16));
            let scale = Scale::HalvesWithMin(half(b, 80), half(b, 82), sc, mn);
            make(0, scale, &|j| b[16 + 32 * (i / 4) + j] >> (2 * (i % 4)) & 3)
        }
        _ => unreachable!(),
    }
}
