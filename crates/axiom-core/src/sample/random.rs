//! Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011).
//!
//! A number is a pure function of seed and position: there is no state to save, to restore or to advance, so a
//! rewound, forked or resumed sequence draws what it would have drawn.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// The golden ratio and sqrt(3) - 1, as in the paper: what the key grows by between rounds.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const N_ROUNDS: usize = 10;

/// The block of four random words that belongs to `counter` under `key`.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..N_ROUNDS {
        let product0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let product1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) =
            ((product1 >> 32) as u32 ^ c1 ^ k0, product1 as u32, (product0 >> 32) as u32 ^ c3 ^ k1, product0 as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The random number of `position` under `seed`: a multiple of 2^-53, at least 0 and below 1.
pub fn uniform(seed: u64, position: u32) -> f64 {
    let words = philox4x32([position, 0, 0, 0], [seed as u32, (seed >> 32) as u32]);
    let bits = (u64::from(words[0]) << 32 | u64::from(words[1])) >> 11;
    // 53 bits convert exactly, and 2^-53 scales exactly.
    bits as f64 * (1.0 / 9007199254740992.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kat_vectors` of Random123, the authors' library.
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32([!0; 4], [!0; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn uniform_takes_the_first_53_bits() {
        assert_eq!(uniform(0, 0), (0x6627e8d5e169c58d_u64 >> 11) as f64 / 9007199254740992.0);
        assert_ne!(uniform(1, 0), uniform(0, 1));
        assert_ne!(uniform(1 << 32, 0), uniform(0, 0));
    }
}
