//! `Simd`: the vector operations from which every kernel is built, once for each instruction set.
//!
//! A kernel is written once, generic over `S: Simd`, and compiled once for each instruction set inside a function that
//! enables it (`kernels/`). A vector always has 16 lanes, whatever the registers hold: one `__m512`, two `__m256`, four
//! `__m128` or a plain array. A lane is one output (a weight row, a position, a dimension), so width never enters a sum.
//!
//! Each operation is the IEEE or two's-complement operation of its name, in every lane, with nothing fused
//! (`docs/arithmetic.md`, section 1). The implementations differ in speed alone; `tests/conformance.rs` holds each equal to
//! [`Portable`](super::portable::Portable).

use super::block::Block;

/// Products of bytes, in which sets differ that share all else.
///
/// # Safety
///
/// That of [`Simd`].
#[allow(clippy::missing_safety_doc)] // one contract for all methods, stated there
pub unsafe trait ByteProducts: Copy + 'static {
    /// 16 × i32.
    type I: Copy;
    /// 64 × u8: four consecutive columns of each of 16 rows.
    type B: Copy;
    /// 8 groups of 64 signed weights, made ready for products with many tokens.
    type Signed: Copy;

    /// Whether the tokens of a tile go through a block side by side, group by group: the weights come from the first-level
    /// cache, the sums stay in registers. Otherwise one after the other, the block's weights staying in registers.
    const BY_GROUP: bool;
    /// Rows up to which signed weights are multiplied as they come: making them ready takes longer than it saves.
    const FEW_SIGNED: usize = 2;

    /// For each of `T` tokens, `Σ w[g][row][i] × x[at + 4g + i]` in each row, over `N` groups of four columns; weights are
    /// unsigned and at most `MAX`, a token's `x` are the values of its block, in −127 … 127.
    unsafe fn dots<const T: usize, const N: usize, const MAX: i32>(
        w: &[Self::B; N],
        x: *const Block,
        at: usize,
    ) -> [Self::I; T];
    /// As `dots`, times the scale of each row, which lies in both 16-bit halves of its lane; `MAX` is at most 63.
    unsafe fn dots_scaled<const T: usize, const MAX: i32>(
        w: &[Self::B; 4],
        x: *const Block,
        at: usize,
        scale: Self::I,
    ) -> [Self::I; T];
    /// As `dots` over the whole block, for signed weights stored with their top bit flipped (w + 128).
    unsafe fn dots_signed<const T: usize>(w: &[Self::B; 8], x: *const Block) -> [Self::I; T];

    /// Signed weights, stored with their top bit flipped, made ready.
    unsafe fn signed(w: [Self::B; 8]) -> Self::Signed;
    /// As `dots_signed`.
    unsafe fn dots_ready<const T: usize>(w: &Self::Signed, x: *const Block) -> [Self::I; T];
}

/// Sixteen lanes of one instruction set.
///
/// # Safety
///
/// Every method may execute instructions of its set: the caller runs on a processor that has them. Methods that take
/// pointers read or write exactly the bytes their name says (any alignment); the caller owns that range.
#[allow(clippy::missing_safety_doc)] // one contract for all methods, stated above
pub unsafe trait Simd: ByteProducts {
    /// 16 × f32.
    type F: Copy;
    /// 16 × u8: one byte of each of 16 rows.
    type Q: Copy;

    /// Tokens that a product takes at once.
    const TILE: usize;
    /// Queries that attention takes side by side: as many sums as there are registers for.
    const QUERIES: usize;
    /// Whether products of few tokens wait for memory, not memory for them: then weights come from two places side by side.
    const TWO_STREAMS: bool;

    // ---- f32 lanes

    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::F;
    /// Reads 16 f32.
    unsafe fn load(p: *const f32) -> Self::F;
    /// Writes 16 f32.
    unsafe fn store(p: *mut f32, x: Self::F);
    /// Reads 16 f16, exactly.
    unsafe fn load_f16(p: *const u16) -> Self::F;
    /// Reads 16 bf16, exactly.
    unsafe fn load_bf16(p: *const u16) -> Self::F;
    /// Writes 16 f16, rounded to nearest even.
    unsafe fn store_f16(p: *mut u16, x: Self::F);
    /// `a + b`.
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    /// `a − b`.
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    /// `a × b`.
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a ÷ b`.
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// Square root.
    unsafe fn sqrt(a: Self::F) -> Self::F;
    /// `a > b ? a : b` (so `b` where either is NaN).
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? x : y`; `y` where either of `a`, `b` is NaN.
    unsafe fn select_lt(a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// `a is NaN ? a : y`.
    unsafe fn keep_nan(a: Self::F, y: Self::F) -> Self::F;
    /// The fixed tree of `sum16`: halves of 8, 4, 2, 1.
    unsafe fn tree_sum(a: Self::F) -> f32;
    /// The largest lane (`max`, in any order; for values without NaN).
    unsafe fn tree_max(a: Self::F) -> f32;

    // ---- i32 lanes

    /// All lanes `x`.
    unsafe fn splat_i(x: i32) -> Self::I;
    /// Wrapping `a + b`.
    unsafe fn add_i(a: Self::I, b: Self::I) -> Self::I;
    /// Wrapping `a − b`.
    unsafe fn sub_i(a: Self::I, b: Self::I) -> Self::I;
    /// Low 32 bits of `a × b`.
    unsafe fn mul_i(a: Self::I, b: Self::I) -> Self::I;
    /// `a << N`.
    unsafe fn shl_i<const N: i32>(a: Self::I) -> Self::I;
    /// The larger, as signed integers.
    unsafe fn max_i(a: Self::I, b: Self::I) -> Self::I;
    /// Two 16-bit numbers in each lane: `low` and `high`, which are in −32768 … 32767.
    unsafe fn pair_i(low: Self::I, high: Self::I) -> Self::I;
    /// The products of the lower and of the upper 16-bit halves, as signed numbers, added.
    unsafe fn dot_pairs(a: Self::I, b: Self::I) -> Self::I;
    /// `a & b`.
    unsafe fn and_i(a: Self::I, b: Self::I) -> Self::I;
    /// i32 to f32, to nearest even.
    unsafe fn to_f(a: Self::I) -> Self::F;
    /// f32 to i32, to nearest even; for |a| ≥ 2^22 and NaN any number.
    unsafe fn round_to_i(a: Self::F) -> Self::I;
    /// The bits of f32 lanes.
    unsafe fn bits(a: Self::F) -> Self::I;
    /// f32 lanes of bits.
    unsafe fn from_bits(a: Self::I) -> Self::F;
    /// Writes the low byte of each lane (16 × i8); lanes are in −128 … 127.
    unsafe fn store_i8(p: *mut i8, a: Self::I);
    /// Sum of the lanes, exact.
    unsafe fn sum_i(a: Self::I) -> i32;
    /// The largest lane.
    unsafe fn tree_max_i(a: Self::I) -> i32;

    // ---- 64 bytes

    /// Reads 64 bytes.
    unsafe fn load_b(p: *const u8) -> Self::B;
    /// `a & m` in each byte.
    unsafe fn and_b(a: Self::B, m: u8) -> Self::B;
    /// `a | b`.
    unsafe fn or_b(a: Self::B, b: Self::B) -> Self::B;
    /// Each 16-bit half-word `>> N` (bits cross bytes: mask afterwards).
    unsafe fn shr_b<const N: i32>(a: Self::B) -> Self::B;
    /// Each 16-bit half-word `<< N` (bits cross bytes: mask afterwards).
    unsafe fn shl_b<const N: i32>(a: Self::B) -> Self::B;
    // ---- 16 bytes

    /// Reads 16 bytes.
    unsafe fn load_q(p: *const u8) -> Self::Q;
    /// `a & m` in each byte.
    unsafe fn and_q(a: Self::Q, m: u8) -> Self::Q;
    /// `a | b`.
    unsafe fn or_q(a: Self::Q, b: Self::Q) -> Self::Q;
    /// Each 16-bit half-word `>> N` (mask afterwards).
    unsafe fn shr_q<const N: i32>(a: Self::Q) -> Self::Q;
    /// Each 16-bit half-word `<< N` (mask afterwards).
    unsafe fn shl_q<const N: i32>(a: Self::Q) -> Self::Q;
    /// Zero-extends to i32.
    unsafe fn unsigned_q(a: Self::Q) -> Self::I;
    /// Sign-extends to i32.
    unsafe fn signed_q(a: Self::Q) -> Self::I;

    /// The same pointer. Where registers are few, the compiler does not know that: it leaves in memory what the pointer
    /// reaches, and keeps it beside others rather than computing it from them.
    #[inline(always)]
    fn opaque<T>(p: *const T) -> *const T {
        p
    }

    /// Hints that the cache line at `p` is read soon. `p` may point anywhere.
    unsafe fn prefetch(p: *const u8);
}

/// Writes the methods of an implementation: each is inlined into the function that enables the instruction set.
macro_rules! simd_ops {
    ($( fn $name:ident $(<$(const $g:ident: $gt:ty),+>)? ($($a:ident: $t:ty),* $(,)?) $(-> $r:ty)? { $($body:tt)* } )*) => { $(
        #[inline(always)]
        unsafe fn $name $(<$(const $g: $gt),+>)? ($($a: $t),*) $(-> $r)? {
            #[allow(unused_unsafe)] // some bodies are plain arithmetic
            // SAFETY: the trait's contract: the processor has the instructions, and the caller owns what pointers reach.
            unsafe { $($body)* }
        }
    )* };
}
pub(crate) use simd_ops;

/// `[f(0), f(1), …]` written out: a closure would be a function of its own, without the instruction set.
macro_rules! unrolled {
    (2, |$i:ident| $f:expr) => { $crate::arithmetic::simd::unrolled!(@ $i, $f, 0 1) };
    (4, |$i:ident| $f:expr) => { $crate::arithmetic::simd::unrolled!(@ $i, $f, 0 1 2 3) };
    (8, |$i:ident| $f:expr) => { $crate::arithmetic::simd::unrolled!(@ $i, $f, 0 1 2 3 4 5 6 7) };
    (@ $i:ident, $f:expr, $($n:literal)+) => { [$({ let $i = $n; $f }),+] };
}
pub(crate) use unrolled;
