//! CRC-32 (IEEE 802.3, as zlib has it), eight bytes at a time.

/// For byte b of eight, what it does to the sum that is `7 - b` bytes further on.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][before as usize & 255];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A sum over bytes that come piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Crc32::new()
    }
}

impl Crc32 {
    /// Of no bytes.
    pub const fn new() -> Crc32 {
        Crc32(!0)
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (eights, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for eight in eights {
            let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
            crc = (0..8).fold(0, |sum, b| sum ^ TABLES[7 - b][(word >> (8 * b)) as usize & 255]);
        }
        for byte in rest {
            crc = crc >> 8 ^ TABLES[0][(crc as u8 ^ byte) as usize];
        }
        self.0 = crc;
    }

    /// The sum.
    pub fn sum(self) -> u32 {
        !self.0
    }
}

/// The sum over `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_are_known() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
        assert_eq!(crc32(&[0; 1000]), 0x060B_1780);
    }

    #[test]
    fn pieces_make_the_whole() {
        let bytes: [u8; 100] = core::array::from_fn(|i| (i * 37 % 251) as u8);
        for cut in 0..=100 {
            let mut crc = Crc32::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.sum(), crc32(&bytes), "cut at {cut}");
        }
    }
}
