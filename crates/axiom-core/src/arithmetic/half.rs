//! f16 and bf16 in software: the meaning of `load_f16`, `load_bf16` and `store_f16` on every instruction set.

/// f16 bits to f32, exact (IEEE 754 binary16; NaN payloads are kept, quieted).
#[inline]
pub const fn f16_to_f32(h: u16) -> f32 {
    let sign = ((h & 0x8000) as u32) << 16;
    let exponent = ((h >> 10) & 0x1F) as u32;
    let mantissa = (h & 0x3FF) as u32;
    match exponent {
        0 => {
            // Subnormal: mantissa × 2^−24, exact in f32.
            let x = mantissa as f32 * f32::from_bits(0x3380_0000);
            f32::from_bits(x.to_bits() | sign)
        }
        31 if mantissa == 0 => f32::from_bits(sign | 0x7F80_0000),
        31 => f32::from_bits(sign | 0x7FC0_0000 | (mantissa << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13)),
    }
}

/// f32 to f16 bits, to nearest even; subnormals are produced, 65520 and above become infinity.
#[inline]
pub const fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7FFF_FFFF;
    if magnitude > 0x7F80_0000 {
        return sign | 0x7E00 | ((magnitude >> 13) & 0x3FF) as u16;
    }
    if magnitude >= 0x477F_F000 {
        return sign | 0x7C00; // 65520 and above, infinity
    }
    if magnitude < 0x3880_0000 {
        // Below 2^−14 the result is subnormal. Adding 0.5 puts its last bit at f32's last bit, rounded to nearest even.
        let shifted = f32::from_bits(magnitude) + 0.5;
        return sign | (shifted.to_bits() - 0x3F00_0000) as u16;
    }
    // Rebias the exponent, then round the 13 bits that fall off to nearest even.
    let odd = (magnitude >> 13) & 1;
    let rounded = magnitude - 0x3800_0000 + 0x0FFF + odd;
    sign | (rounded >> 13) as u16
}

/// bf16 bits to f32, exact.
#[inline]
pub const fn bf16_to_f32(h: u16) -> f32 {
    f32::from_bits((h as u32) << 16)
}
