//! Every operation of a table's `Simd` against `Portable`, by itself: when a kernel differs, this says which instruction did.

use super::inputs::{Random, SPECIAL, same, same_half};
use crate::arithmetic::block::Block;
use crate::arithmetic::portable::Portable;
use crate::arithmetic::simd::Simd;
use crate::kernels::Kernels;
use alloc::vec;
use alloc::vec::Vec;

/// What the operations are tried on.
#[derive(Clone, Debug)]
struct Input {
    f: [[f32; 16]; 4],
    i: [[i32; 16]; 2],
    /// f32 below 2^22, for rounding to integers.
    small: [f32; 16],
    /// −128 … 127.
    bytes_i: [i32; 16],
    half: [u16; 16],
    b: [[u8; 64]; 8],
    q: [[u8; 16]; 2],
    x: [[i8; 32]; 4],
}

/// Names of operations with the bits that they gave; floats are kept as floats so that NaNs can be compared as NaNs.
#[derive(Default)]
struct Output {
    floats: Vec<(&'static str, Vec<f32>)>,
    bits: Vec<(&'static str, Vec<i32>)>,
}

/// A block of activations, as `quantize` makes it, with a scale of 1.
fn token(q: [i8; 32]) -> Block {
    let sum = |part: &[i8]| part.iter().map(|&q| i32::from(q)).sum::<i32>();
    let sums = [sum(&q[..16]), sum(&q[16..])];
    Block { q, d: 1.0, m: sum(&q) as f32, s: sums.map(|sum| sum as i16), eight_sum: 8 * sum(&q) }
}

/// Runs every operation.
///
/// # Safety
///
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn operations<S: Simd>(input: &Input) -> Output {
    let mut out = Output::default();
    // SAFETY: the caller's duty; every pointer is to a whole array of `input` or to one of the arrays here.
    unsafe {
        let mut lanes = [0f32; 16];
        let mut ints = [0i32; 16];
        let [a, b, x, y] = input.f.map(|f| S::load(f.as_ptr()));
        let [i, j] = input.i.map(|i| S::bits(S::load(i.as_ptr().cast())));
        macro_rules! float {
            ($name:literal, $value:expr) => {
                S::store(lanes.as_mut_ptr(), $value);
                out.floats.push(($name, lanes.to_vec()));
            };
        }
        macro_rules! int {
            ($name:literal, $value:expr) => {
                S::store(ints.as_mut_ptr().cast(), S::from_bits($value));
                out.bits.push(($name, ints.to_vec()));
            };
        }
        float!("splat", S::splat(input.f[0][5]));
        float!("load", a);
        float!("load_f16", S::load_f16(input.half.as_ptr()));
        float!("load_bf16", S::load_bf16(input.half.as_ptr()));
        float!("add", S::add(a, b));
        float!("sub", S::sub(a, b));
        float!("mul", S::mul(a, b));
        float!("div", S::div(a, b));
        float!("sqrt", S::sqrt(a));
        float!("max", S::max(a, b));
        float!("select_lt", S::select_lt(a, b, x, y));
        float!("keep_nan", S::keep_nan(a, y));
        float!("to_f", S::to_f(i));
        out.floats.push(("tree_sum", vec![S::tree_sum(a)]));
        out.floats.push(("tree_max", vec![S::tree_max(S::load(input.small.as_ptr())) + 0.0])); // the sign of zero is open
        let mut half = [0u16; 16];
        S::store_f16(half.as_mut_ptr(), a);
        out.bits.push(("store_f16", half.map(i32::from).to_vec()));

        int!("splat_i", S::splat_i(input.i[0][3]));
        int!("add_i", S::add_i(i, j));
        int!("sub_i", S::sub_i(i, j));
        int!("mul_i", S::mul_i(i, j));
        int!("shl_i 1", S::shl_i::<1>(i));
        int!("shl_i 23", S::shl_i::<23>(i));
        int!("max_i", S::max_i(i, j));
        int!("and_i", S::and_i(i, j));
        int!("round_to_i", S::round_to_i(S::load(input.small.as_ptr())));
        int!("bits", S::bits(a));
        let mut bytes = [0i8; 16];
        S::store_i8(bytes.as_mut_ptr(), S::bits(S::load(input.bytes_i.as_ptr().cast())));
        out.bits.push(("store_i8", bytes.map(i32::from).to_vec()));
        out.bits.push(("sum_i", vec![S::sum_i(i)]));
        out.bits.push(("tree_max_i", vec![S::tree_max_i(i)]));

        // Bytes have no store: a product with single ones reads them out. Odd ones count 1, even ones 0, then the reverse.
        let wide: [S::B; 8] = core::array::from_fn(|g| S::load_b(input.b[g].as_ptr()));
        let zero = S::load_b([0x80; 64].as_ptr()); // stored with its top bit flipped
        let with_zeros = |w: S::B| [w, zero, zero, zero, zero, zero, zero, zero];
        macro_rules! bytes {
            ($name:literal, $value:expr) => {
                for t in 0..4 {
                    let mut one = [0i8; 32];
                    one[t] = 1;
                    let [sum] = S::dots_signed::<1>(&with_zeros($value), &token(one));
                    int!($name, sum);
                }
            };
        }
        bytes!("load_b", wide[0]);
        bytes!("and_b", S::and_b(wide[0], 0x5A));
        bytes!("or_b", S::or_b(wide[0], wide[1]));
        bytes!("shr_b 1", S::shr_b::<1>(wide[0]));
        bytes!("shr_b 2", S::shr_b::<2>(wide[0]));
        bytes!("shr_b 6", S::shr_b::<6>(wide[0]));
        bytes!("shl_b 1", S::shl_b::<1>(wide[0]));
        bytes!("shl_b 4", S::shl_b::<4>(wide[0]));
        let tokens: [Block; 4] = input.x.map(token);
        macro_rules! ints {
            ($name:literal, $values:expr) => {
                for sum in $values {
                    int!($name, sum);
                }
            };
        }
        ints!("dots_signed 4", S::dots_signed::<4>(&wide, tokens.as_ptr()));
        ints!("dots_signed 1", S::dots_signed::<1>(&wide, &tokens[2]));
        ints!("dots_ready 4", S::dots_ready::<4>(&S::signed(wide), tokens.as_ptr()));
        ints!("dots_ready 1", S::dots_ready::<1>(&S::signed(wide), &tokens[2]));
        let scale = S::round_to_i(S::load(input.bytes_i.map(|scale| scale as f32).as_ptr()));
        int!("pair_i", S::pair_i(scale, S::sub_i(S::splat_i(0), scale)));
        int!("dot_pairs", S::dot_pairs(i, j));
        let scale = S::pair_i(scale, scale);
        macro_rules! dot {
            ($name:literal, $max:literal) => {
                let w: [S::B; 8] = core::array::from_fn(|g| S::and_b(wide[g], $max));
                ints!($name, S::dots::<4, 8, $max>(&w, tokens.as_ptr(), 0));
                ints!($name, S::dots::<2, 8, $max>(&w, tokens.as_ptr(), 0));
                ints!($name, S::dots::<1, 4, $max>(&[w[0], w[1], w[2], w[3]], tokens.as_ptr(), 16));
                ints!($name, S::dots::<1, 1, $max>(&[w[5]], tokens.as_ptr(), 28));
                ints!($name, S::dots::<3, 3, $max>(&[w[5], w[6], w[7]], tokens.as_ptr(), 4));
            };
        }
        macro_rules! dot_scaled {
            ($name:literal, $max:literal) => {
                let w: [S::B; 4] = core::array::from_fn(|g| S::and_b(wide[g], $max));
                ints!($name, S::dots_scaled::<4, $max>(&w, tokens.as_ptr(), 16, scale));
                ints!($name, S::dots_scaled::<1, $max>(&w, tokens.as_ptr(), 0, scale));
            };
        }
        dot_scaled!("dots_scaled 3", 3);
        dot_scaled!("dots_scaled 7", 7);
        dot_scaled!("dots_scaled 63", 63);
        dot!("dots 3", 3);
        dot!("dots 7", 7);
        dot!("dots 15", 15);
        dot!("dots 31", 31);
        dot!("dots 63", 63);
        dot!("dots 127", 127);

        let q = [S::load_q(input.q[0].as_ptr()), S::load_q(input.q[1].as_ptr())];
        int!("unsigned_q", S::unsigned_q(q[0]));
        int!("signed_q", S::signed_q(q[0]));
        int!("and_q", S::unsigned_q(S::and_q(q[0], 0xA5)));
        int!("or_q", S::unsigned_q(S::or_q(q[0], q[1])));
        int!("shr_q 2", S::unsigned_q(S::shr_q::<2>(q[0])));
        int!("shr_q 4", S::unsigned_q(S::shr_q::<4>(q[0])));
        int!("shl_q 2", S::unsigned_q(S::shl_q::<2>(q[0])));
        int!("shl_q 4", S::unsigned_q(S::shl_q::<4>(q[0])));
        S::prefetch(input.b[0].as_ptr());
        S::prefetch(core::ptr::null());
    }
    out
}

/// Ordinary numbers in the first rounds, then any bits at all, then extremes.
fn input(round: usize, random: &mut Random) -> Input {
    let float = |random: &mut Random| match round % 4 {
        0 => random.normal(),
        1 => random.finite(),
        2 => SPECIAL[random.below(SPECIAL.len())],
        _ => f32::from_bits(random.next() as u32),
    };
    let byte = |random: &mut Random| match round % 5 {
        0 => 0xFF,
        1 => [0x00, 0x7F, 0x80, 0xFF][random.below(4)],
        _ => random.next() as u8,
    };
    let code = |random: &mut Random| match round % 3 {
        0 => 127,
        1 => [-127, 127][random.below(2)],
        _ => random.below(255) as i8 as i32 as i8,
    };
    Input {
        f: core::array::from_fn(|_| core::array::from_fn(|_| float(random))),
        i: core::array::from_fn(|_| {
            core::array::from_fn(|_| match random.below(8) {
                0 => [0, -1, i32::MIN, i32::MAX, 1 << 24, (1 << 24) + 1, 16_777_219, -16_777_217][random.below(8)],
                _ => (random.next() as i32) >> random.below(31),
            })
        }),
        small: core::array::from_fn(|_| match random.below(3) {
            0 => (random.next() as i32 >> 9) as f32 / 2.0, // ties
            1 => (random.next() as i32 >> 10) as f32 * random.normal() * 0.24,
            _ => SPECIAL[random.below(16)],
        }),
        bytes_i: core::array::from_fn(|_| random.below(256) as i32 - 128),
        half: core::array::from_fn(|_| random.next() as u16),
        b: core::array::from_fn(|_| core::array::from_fn(|_| byte(random))),
        q: core::array::from_fn(|_| core::array::from_fn(|_| byte(random))),
        x: core::array::from_fn(|_| core::array::from_fn(|_| code(random).max(-127))),
    }
}

/// Compares what `run` gives with what the portable operations give.
fn compare(name: &str, run: unsafe fn(&Input) -> Output) {
    let mut random = Random(21);
    for round in 0..3000 {
        let input = input(round, &mut random);
        // SAFETY: the caller has asked the processor; Portable needs nothing.
        let (got, expected) = unsafe { (run(&input), operations::<Portable>(&input)) };
        for ((op, got), (_, expected)) in got.floats.iter().zip(&expected.floats) {
            let equal = got.iter().zip(expected).all(|(&a, &b)| same(a, b));
            assert!(equal, "{name} {op}, round {round}: {got:?}, expected {expected:?} of {input:?}");
        }
        for ((op, got), (_, expected)) in got.bits.iter().zip(&expected.bits) {
            let equal = match *op {
                // An f32 of any bits may be NaN, which f16 keeps as some NaN.
                "store_f16" => (0..16).all(|i| same_half(input.f[0][i], got[i] as u16, expected[i] as u16)),
                _ => got == expected,
            };
            assert!(equal, "{name} {op}, round {round}: {got:x?}, expected {expected:x?} of {input:?}");
        }
    }
}

/// The operations that `table` is made of, one by one.
pub fn every_operation(table: &Kernels) {
    macro_rules! set {
        ($set:path $(, $features:literal)?) => {{
            $(#[target_feature(enable = $features)])?
            unsafe fn run(input: &Input) -> Output {
                // SAFETY: the table is usable, so the processor has what it needs.
                unsafe { operations::<$set>(input) }
            }
            compare(table.name, run)
        }};
    }
    match table.name {
        #[cfg(target_arch = "x86_64")]
        "sse2" => set!(crate::arithmetic::sse2::Sse2),
        #[cfg(target_arch = "x86_64")]
        "avx2" => set!(crate::arithmetic::avx2::Avx2, "avx2,f16c"),
        #[cfg(target_arch = "x86_64")]
        "avxvnni" => set!(crate::arithmetic::avxvnni::AvxVnni, "avx2,f16c,avxvnni"),
        #[cfg(target_arch = "x86_64")]
        "emulated avxvnni" => set!(crate::arithmetic::avxvnni::EmulatedAvxVnni, "avx2,f16c"),
        #[cfg(target_arch = "x86_64")]
        "avx512" => set!(crate::arithmetic::avx512::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c"),
        #[cfg(target_arch = "aarch64")]
        "neon" => set!(crate::arithmetic::neon::Neon),
        #[cfg(target_arch = "aarch64")]
        "dotprod" => set!(crate::arithmetic::dotprod::DotProd, "dotprod"),
        "portable" => {}
        name => panic!("the operations of table {name} are not checked: add them here"),
    }
}
