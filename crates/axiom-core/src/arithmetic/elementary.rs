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
    let [y] = unsafe { exp_each::<S, 1>([x]) };
    y
}

/// e^x in each lane of several vectors, side by side: each step waits for the one before it, and a processor does others
/// meanwhile.
///
/// # Safety
///
/// As [`exp`].
#[inline(always)]
pub unsafe fn exp_each<S: Simd, const N: usize>(x: [S::F; N]) -> [S::F; N] {
    // SAFETY: the caller's duty.
    unsafe {
        let constant = |bits: u32| S::splat(f32::from_bits(bits));
        // Outside the range, and for NaN, lanes compute something or other that the selections at the end replace.
        let (low, high) = (S::splat(-87.0), S::splat(88.0));
        let mut n = [S::splat_i(0); N];
        let mut r = x;
        for i in 0..N {
            n[i] = S::round_to_i(S::mul(x[i], constant(0x3FB8_AA3B)));
            let nf = S::to_f(n[i]);
            r[i] = S::sub(x[i], S::mul(nf, constant(0x3F31_8000)));
            r[i] = S::sub(r[i], S::mul(nf, constant(0xB95E_8083)));
        }
        let mut p = [constant(0x3950_6967); N];
        for bits in [0x3AB7_43CE, 0x3C08_8908, 0x3D2A_A9C1, 0x3E2A_AAAA, 0x3F00_0000] {
            for i in 0..N {
                p[i] = S::add(S::mul(p[i], r[i]), constant(bits));
            }
        }
        let mut y = x;
        for i in 0..N {
            y[i] = S::add(S::mul(p[i], S::mul(r[i], r[i])), r[i]);
            y[i] = S::add(y[i], S::splat(1.0));
            y[i] = S::from_bits(S::add_i(S::bits(y[i]), S::shl_i::<23>(n[i])));
            y[i] = S::select_lt(x[i], low, S::splat(0.0), y[i]);
            y[i] = S::select_lt(high, x[i], S::splat(f32::INFINITY), y[i]);
            y[i] = S::keep_nan(x[i], y[i]);
        }
        y
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
