//! exp and silu on lanes (`docs/arithmetic.md`, section 2). Polynomial after Cephes `expf`; multiply and add rounded apart.

use super::simd::Simd;

/// e^x in each lane.
///
/// # Safety
///
/// The processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    // SAFETY: the caller's duty.
    unsafe {
        let constant = |bits: u32| S::splat(f32::from_bits(bits));
        // Outside the range the lanes compute something harmless that the selections below replace.
        let low = S::splat(-87.0);
        let high = S::splat(88.0);
        let inside = S::select_lt(x, low, low, x);
        let inside = S::select_lt(high, inside, high, inside);
        let n = S::round_to_i(S::mul(inside, constant(0x3FB8_AA3B)));
        let nf = S::to_f(n);
        let r = S::sub(inside, S::mul(nf, constant(0x3F31_8000)));
        let r = S::sub(r, S::mul(nf, constant(0xB95E_8083)));
        let mut p = constant(0x3950_6967);
        for bits in [0x3AB7_43CE, 0x3C08_8908, 0x3D2A_A9C1, 0x3E2A_AAAA, 0x3F00_0000] {
            p = S::add(S::mul(p, r), constant(bits));
        }
        let y = S::add(S::mul(p, S::mul(r, r)), r);
        let y = S::add(y, S::splat(1.0));
        let y = S::from_bits(S::add_i(S::bits(y), S::shl_i::<23>(n)));
        let y = S::select_lt(x, low, S::splat(0.0), y);
        let y = S::select_lt(high, x, S::splat(f32::INFINITY), y);
        S::keep_nan(x, y)
    }
}

/// x ÷ (1 + e^−x) in each lane.
///
/// # Safety
///
/// The processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn silu<S: Simd>(x: S::F) -> S::F {
    // SAFETY: the caller's duty. 0 − x is −x but for the sign of zero, where exp gives 1 either way.
    unsafe { S::div(x, S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x)))) }
}
