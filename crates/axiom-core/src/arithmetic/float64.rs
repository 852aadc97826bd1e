//! `exp`, `ln`, `sin` and `cos` in binary64, the same bits on every machine.
//!
//! Only `+ - * /` and moves of bits are used, each operation rounded on its own (nearest, ties to even) and in the
//! order written here; the mathematical library of the platform is never asked, because no two of them agree.
//! `axiom.reference.arithmetic.float64` holds the same operations in the same order.
//!
//! The reductions are those of FDLIBM (K. C. Ng, Sun Microsystems, 1993: `e_exp.c`, `e_log.c`, `k_sin.c`,
//! `k_cos.c`) with Taylor coefficients, which can be checked by eye, in place of the minimax ones; a term or two more
//! pays for that. The reduction by pi/2 is Cody and Waite's with four parts and the lost bits carried along, so that
//! an argument next to a multiple of pi/2 keeps its relative accuracy.
//!
//! | function | domain | error |
//! | --- | --- | --- |
//! | [`exp`] | all; subnormal results are rounded once | < 1.5 ulp |
//! | [`ln`] | all, subnormals too | < 1 ulp |
//! | [`sin`], [`cos`] | magnitude up to [`TRIGONOMETRIC_LIMIT`], NaN beyond | < 1 ulp |

use core::array::from_fn;

/// 1.5 · 2^52: adding it to a number of magnitude below 2^51 and taking it away rounds to an integer, ties to even.
const ROUND_TO_INTEGER: f64 = 6755399441055744.0;

/// 1 / ln 2.
const LN2_INVERSE: f64 = f64::from_bits(0x3ff7_1547_652b_82fe);
/// The first 32 bits of ln 2: its product with an integer of 21 bits is exact.
const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
/// ln 2 - [`LN2_HIGH`], rounded.
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// 2 / pi.
const PI_2_INVERSE: f64 = f64::from_bits(0x3fe4_5f30_6dc9_c883);
/// pi/2 in three parts of 30 bits, whose products with an integer of 23 bits are exact, and a rounded rest.
const PI_2: [f64; 4] = [
    f64::from_bits(0x3ff9_21fb_5400_0000),
    f64::from_bits(0x3e11_0b46_1180_0000),
    f64::from_bits(0x3c23_1319_8a00_0000),
    f64::from_bits(0x3a37_01b8_39a2_5205),
];

/// 1/2!, 1/3!, … 1/13!: the quotients are rounded once, since every factorial here is an exact binary64.
const EXP_TERMS: [f64; 12] = [
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
    1.0 / 40320.0,
    1.0 / 362880.0,
    1.0 / 3628800.0,
    1.0 / 39916800.0,
    1.0 / 479001600.0,
    1.0 / 6227020800.0,
];

/// 2/3, 2/5, … 2/21: the series of ln((1 + s) / (1 - s)) after its first term 2 s.
const LN_TERMS: [f64; 10] = [
    2.0 / 3.0,
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
    2.0 / 21.0,
];

/// -1/3!, 1/5!, … 1/17!.
const SIN_TERMS: [f64; 8] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5040.0,
    1.0 / 362880.0,
    -1.0 / 39916800.0,
    1.0 / 6227020800.0,
    -1.0 / 1307674368000.0,
    1.0 / 355687428096000.0,
];

/// 1/4!, -1/6!, … 1/16!.
const COS_TERMS: [f64; 7] = [
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40320.0,
    -1.0 / 3628800.0,
    1.0 / 479001600.0,
    -1.0 / 87178291200.0,
    1.0 / 20922789888000.0,
];

/// The largest magnitude that [`sin`] and [`cos`] take: 2^21 radians, which bounds the positions of a model.
pub const TRIGONOMETRIC_LIMIT: f64 = 2097152.0;

/// `terms[0] + x * (terms[1] + x * (…))`, from the last term inwards (Horner), each step one product and one sum.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, terms: &[f64; N]) -> f64 {
    let mut sum = terms[N - 1];
    for term in terms[..N - 1].iter().rev() {
        sum = term + x * sum;
    }
    sum
}

/// 2^`exponent` for an exponent of a normal number, -1022 to 1023.
#[inline(always)]
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits((exponent.wrapping_add(1023) as u64) << 52)
}

/// Beyond this magnitude the exponential is infinite, or zero.
const EXP_LIMIT: f64 = 746.0;

/// e to the power `x`. Above 746 infinity, below -746 zero, NaN for NaN.
#[inline]
pub fn exp(x: f64) -> f64 {
    let [power] = exp_each([x]);
    power
}

/// [`exp`] of each. Step by step for all of them, without a branch: vector code in which none waits for the steps of one.
#[inline(always)]
fn exp_each<const N: usize>(x: [f64; N]) -> [f64; N] {
    let within = x.map(|x| {
        let within = if x > EXP_LIMIT { EXP_LIMIT } else { x };
        if within < -EXP_LIMIT { -EXP_LIMIT } else { within }
    });
    // x = k ln 2 + r with |r| <= ln 2 / 2: the product with the high part is exact, and so is its difference with x.
    let shifted = within.map(|within| within * LN2_INVERSE + ROUND_TO_INTEGER);
    let r: [f64; N] = from_fn(|i| {
        let k = shifted[i] - ROUND_TO_INTEGER;
        (within[i] - k * LN2_HIGH) - k * LN2_LOW
    });
    let mut sum = [EXP_TERMS[EXP_TERMS.len() - 1]; N];
    for term in EXP_TERMS[..EXP_TERMS.len() - 1].iter().rev() {
        sum = from_fn(|i| term + r[i] * sum[i]);
    }
    from_fn(|i| {
        let y = 1.0 + (r[i] + (r[i] * r[i]) * sum[i]);
        // k as an integer stands in the low bits. It reaches past the exponents of normal numbers: half of it first, which is
        // exact, then the rest, which rounds at most once (into the subnormals or to infinity). Half of a number that is not
        // negative is a shift that every vector unit has.
        let k = shifted[i].to_bits().wrapping_sub(ROUND_TO_INTEGER.to_bits()) as i64;
        let half = (k.wrapping_add(2048) as u64 >> 1) as i64 - 1024;
        let power = (y * power_of_two(half)) * power_of_two(k.wrapping_sub(half));
        let power = if x[i] < -EXP_LIMIT { 0.0 } else { power };
        let power = if x[i] > EXP_LIMIT { f64::INFINITY } else { power };
        if x[i].is_nan() { f64::NAN } else { power }
    })
}

/// Values that [`weigh`] takes side by side.
const SIDE_BY_SIDE: usize = 16;

/// `out[i] = exp((x[i] - max) / temperature)`: what logits weigh beside the largest of them. `out` may be `x`.
///
/// # Safety
///
/// The arrays hold `n` values.
#[inline(always)]
pub unsafe fn weigh(x: *const f64, n: usize, max: f64, temperature: f64, out: *mut f64) {
    let n_whole = n - n % SIDE_BY_SIDE;
    // SAFETY: the caller's duty; both loops stay below `n`.
    unsafe {
        for i in (0..n_whole).step_by(SIDE_BY_SIDE) {
            let x = x.add(i).cast::<[f64; SIDE_BY_SIDE]>().read();
            let weights = exp_each(x.map(|x| (x - max) / temperature));
            out.add(i).cast::<[f64; SIDE_BY_SIDE]>().write(weights);
        }
        for i in n_whole..n {
            *out.add(i) = exp((*x.add(i) - max) / temperature);
        }
    }
}

/// The natural logarithm of `x`. Minus infinity for both zeros, NaN below zero and for NaN.
#[inline]
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let subnormal = x < f64::MIN_POSITIVE;
    // 2^54 lifts every subnormal into the normal numbers without rounding.
    let bits = (if subnormal { x * 18014398509481984.0 } else { x }).to_bits();
    let mut k = ((bits >> 52) as i64 - 1023) as f64;
    if subnormal {
        k -= 54.0;
    }
    // x = 2^k m with m from 1 to 2, then from about 1/sqrt(2) to sqrt(2).
    let mut m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if m > core::f64::consts::SQRT_2 {
        m *= 0.5;
        k += 1.0;
    }
    // ln(1 + f) = f - f²/2 + s (f²/2 + R) with s = f / (2 + f) and R the series of 2 atanh(s) / s - 2.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let rest = z * polynomial(z, &LN_TERMS);
    let half_square = (0.5 * f) * f;
    k * LN2_HIGH - ((half_square - (s * (half_square + rest) + k * LN2_LOW)) - f)
}

/// `a - b` as the rounded difference and the exact error of that rounding (Knuth's two-sum).
#[inline(always)]
fn difference(a: f64, b: f64) -> (f64, f64) {
    let rounded = a - b;
    let b_seen = rounded - a;
    (rounded, (a - (rounded - b_seen)) - (b + b_seen))
}

/// `x` = n pi/2 + r + t: n modulo 4, r of magnitude up to about pi/4, and t the bits that r could not hold.
#[inline(always)]
fn reduce(x: f64) -> (i64, f64, f64) {
    let n = (x * PI_2_INVERSE + ROUND_TO_INTEGER) - ROUND_TO_INTEGER;
    // Exact: the product has 51 bits, and the two lie within a factor of two of each other (or n is 0).
    let first = x - n * PI_2[0];
    let (second, second_lost) = difference(first, n * PI_2[1]);
    let (third, third_lost) = difference(second, n * PI_2[2]);
    let low = (second_lost + third_lost) - n * PI_2[3];
    let r = third + low;
    ((n as i64) & 3, r, (third - r) + low)
}

/// sin(r + t) for r of magnitude up to about pi/4 and a far smaller t.
#[inline(always)]
fn sin_reduced(r: f64, t: f64) -> f64 {
    let z = r * r;
    r + ((r * z) * polynomial(z, &SIN_TERMS) + t * (1.0 - 0.5 * z))
}

/// cos(r + t) for r of magnitude up to about pi/4 and a far smaller t.
#[inline(always)]
fn cos_reduced(r: f64, t: f64) -> f64 {
    let z = r * r;
    let half = 0.5 * z;
    let lead = 1.0 - half;
    lead + (((1.0 - lead) - half) + ((z * z) * polynomial(z, &COS_TERMS) - r * t))
}

/// The sine of `x` radians. NaN beyond [`TRIGONOMETRIC_LIMIT`]; the sine of either zero is +0.
#[inline]
pub fn sin(x: f64) -> f64 {
    if !(-TRIGONOMETRIC_LIMIT..=TRIGONOMETRIC_LIMIT).contains(&x) {
        return f64::NAN;
    }
    let (quadrant, r, t) = reduce(x);
    match quadrant {
        0 => sin_reduced(r, t),
        1 => cos_reduced(r, t),
        2 => -sin_reduced(r, t),
        _ => -cos_reduced(r, t),
    }
}

/// The cosine of `x` radians. NaN beyond [`TRIGONOMETRIC_LIMIT`].
#[inline]
pub fn cos(x: f64) -> f64 {
    if !(-TRIGONOMETRIC_LIMIT..=TRIGONOMETRIC_LIMIT).contains(&x) {
        return f64::NAN;
    }
    let (quadrant, r, t) = reduce(x);
    match quadrant {
        0 => cos_reduced(r, t),
        1 => -sin_reduced(r, t),
        2 => -cos_reduced(r, t),
        _ => sin_reduced(r, t),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_values() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert!(exp(f64::NAN).is_nan());
        assert_eq!(exp(-745.0).to_bits(), 1, "the smallest subnormal");
        assert_eq!(exp(709.79), f64::INFINITY);
        assert_eq!(ln(1.0).to_bits(), 0);
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert_eq!(ln(-0.0), f64::NEG_INFINITY);
        assert!(ln(-1.0).is_nan());
        assert_eq!(ln(f64::INFINITY), f64::INFINITY);
        assert_eq!(sin(0.0).to_bits(), 0);
        assert_eq!(cos(0.0), 1.0);
        assert!(sin(TRIGONOMETRIC_LIMIT * 1.5).is_nan() && cos(f64::INFINITY).is_nan() && sin(f64::NAN).is_nan());
    }

    /// Published digits, rounded by the compiler's parser.
    #[test]
    fn known_digits() {
        let ulps = |got: f64, expected: f64| got.to_bits().abs_diff(expected.to_bits());
        assert!(ulps(exp(1.0), core::f64::consts::E) <= 1);
        assert!(ulps(ln(2.0), core::f64::consts::LN_2) <= 1);
        assert!(ulps(ln(10.0), core::f64::consts::LN_10) <= 1);
        assert!(ulps(sin(core::f64::consts::PI), 1.2246467991473532e-16) <= 1);
        assert!(ulps(cos(core::f64::consts::FRAC_PI_2), 6.123233995736766e-17) <= 1);
    }
}
