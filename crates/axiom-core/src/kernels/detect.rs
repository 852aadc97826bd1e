//! What the processor can do, by CPUID and XGETBV: an instruction set counts only if the system saves its registers.

/// Instruction sets that a kernel table may need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuFeatures {
    /// AVX2 (with AVX, and ymm registers saved by the system).
    pub avx2: bool,
    /// f16 conversion.
    pub f16c: bool,
    /// Byte products on ymm registers.
    pub avxvnni: bool,
    /// AVX-512 foundation (with zmm registers and masks saved by the system).
    pub avx512f: bool,
    /// AVX-512 bytes and words.
    pub avx512bw: bool,
    /// AVX-512 doublewords and quadwords.
    pub avx512dq: bool,
    /// AVX-512 on shorter vectors.
    pub avx512vl: bool,
    /// AVX-512 byte products.
    pub avx512vnni: bool,
    /// Byte products of 64-bit ARM.
    pub dotprod: bool,
}

impl CpuFeatures {
    /// Asks the processor this code runs on.
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> CpuFeatures {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        let bit = |word: u32, n: u32| word >> n & 1 == 1;
        if __cpuid(0).eax < 7 {
            return CpuFeatures::default();
        }
        let one = __cpuid(1);
        let seven = __cpuid_count(7, 0);
        // What a processor says of a part that it does not have is not to be relied on.
        let more = if seven.eax >= 1 { __cpuid_count(7, 1).eax } else { 0 };
        let (osxsave, avx) = (bit(one.ecx, 27), bit(one.ecx, 28));
        // XCR0: bits 1, 2 are xmm and ymm; 5, 6, 7 are masks and the two parts of zmm.
        let saved = if osxsave { xgetbv() } else { 0 };
        let ymm = avx && saved & 0b110 == 0b110;
        let zmm = ymm && saved & 0b1110_0110 == 0b1110_0110;
        CpuFeatures {
            avx2: ymm && bit(seven.ebx, 5),
            f16c: ymm && bit(one.ecx, 29),
            avxvnni: ymm && bit(more, 4),
            avx512f: zmm && bit(seven.ebx, 16),
            avx512dq: zmm && bit(seven.ebx, 17),
            avx512bw: zmm && bit(seven.ebx, 30),
            avx512vl: zmm && bit(seven.ebx, 31),
            avx512vnni: zmm && bit(seven.ecx, 11),
            dotprod: false,
        }
    }

    /// Asks the processor this code runs on.
    #[cfg(target_arch = "aarch64")]
    pub fn detect() -> CpuFeatures {
        CpuFeatures { dotprod: has_dotprod(), ..CpuFeatures::default() }
    }

    /// Asks the processor this code runs on: nothing to ask where every kernel is baseline.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn detect() -> CpuFeatures {
        CpuFeatures::default()
    }

    /// Names and presence, for reports.
    pub fn list(&self) -> [(&'static str, bool); 9] {
        [
            ("avx2", self.avx2),
            ("f16c", self.f16c),
            ("avxvnni", self.avxvnni),
            ("avx512f", self.avx512f),
            ("avx512bw", self.avx512bw),
            ("avx512dq", self.avx512dq),
            ("avx512vl", self.avx512vl),
            ("avx512vnni", self.avx512vnni),
            ("dotprod", self.dotprod),
        ]
    }

    /// Whether the feature of that name is there.
    pub fn has(&self, name: &str) -> bool {
        self.list().iter().any(|&(feature, present)| feature == name && present)
    }
}

/// Extended control register 0: which registers the system saves.
#[cfg(target_arch = "x86_64")]
fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller has seen OSXSAVE, so the instruction exists; it only reads a register.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Whether there is `sdot`. Linux answers for the register, which it reads in the program's place (since 4.11); Apple has had
/// the instruction in every processor of its computers.
#[cfg(target_arch = "aarch64")]
fn has_dotprod() -> bool {
    if cfg!(target_os = "linux") {
        let features: u64;
        // SAFETY: reads ID_AA64ISAR0_EL1.
        unsafe {
            core::arch::asm!("mrs {}, ID_AA64ISAR0_EL1", out(reg) features, options(pure, nomem, nostack, preserves_flags));
        }
        return features >> 44 & 0xF != 0;
    }
    cfg!(target_os = "macos")
}
