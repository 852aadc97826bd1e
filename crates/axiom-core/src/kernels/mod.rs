//! `Kernels`: the table of functions that the engine computes with, one for each instruction set, chosen once and passed down.
//!
//! The kernels themselves are in `arithmetic/` and `format/`, generic over the vector operations. Here each is compiled inside
//! functions that enable an instruction set, and the functions are gathered in a table. The tables agree to the last bit.

mod detect;

pub use self::detect::CpuFeatures;

use crate::arithmetic::activation::{Activations, quantize};
use crate::arithmetic::attention::{Tile, attend, finish};
use crate::arithmetic::float64::weigh;
use crate::arithmetic::simd::Simd;
use crate::arithmetic::vector::{add, exp_all, rms_norm, rope, scale, silu_mul, to_f16};
use crate::error::Error;
use crate::format::BlockFormat;
use crate::format::panel::Plain;
use crate::format::product::{multiply, multiply_plain};
use crate::format::{self, Format, with_format};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

type Multiply = unsafe fn(*const u8, usize, &Activations, usize, usize, *mut f32, usize);

/// The functions of one instruction set.
///
/// Every field is `unsafe` to call: its caller answers for the pointers (each function's own contract is on the generic
/// kernel of the same name) and has the table from [`Kernels::choose`], which answers for the processor.
pub struct Kernels {
    /// `portable`, `sse2`, `avx2`, `avxvnni`, `avx512`, `neon` or `dotprod`.
    pub name: &'static str,
    /// Features the processor must have.
    pub needs: &'static [&'static str],
    /// Rows of the widest tile of activations.
    pub tile: usize,
    /// [`quantize`]: `(activations, row, first block, end block)`.
    pub quantize: unsafe fn(&Activations, usize, usize, usize),
    /// [`rms_norm`]: `(x, w, n, eps, out)`.
    pub rms_norm: unsafe fn(*const f32, *const f32, usize, f32, *mut f32),
    /// [`silu_mul`]: `(gate, up, n, out)`.
    pub silu_mul: unsafe fn(*const f32, *const f32, usize, *mut f32),
    /// [`add`]: `(x, y, n)`, x += y.
    pub add: unsafe fn(*mut f32, *const f32, usize),
    /// [`scale`]: `(x, a, n)`, x *= a.
    pub scale: unsafe fn(*mut f32, f32, usize),
    /// [`rope`]: `(head, cos, sin, n_pair, adjacent)`.
    pub rope: unsafe fn(*mut f32, *const f32, *const f32, usize, bool),
    /// [`attend`] with an f16 cache.
    pub attend_f16: unsafe fn(&Tile),
    /// [`attend`] with an f32 cache.
    pub attend_f32: unsafe fn(&Tile),
    /// [`finish`]: `(tile, out, out_stride)`.
    pub finish: unsafe fn(&Tile, *mut f32, usize),
    /// f32 to f16, to nearest even: `(x, n, out)`.
    pub to_f16: unsafe fn(*const f32, usize, *mut u16),
    /// e^x: `(x, n, out)`.
    pub exp: unsafe fn(*const f32, usize, *mut f32),
    /// [`weigh`], in binary64: `(x, n, max, temperature, out)`.
    pub weigh: unsafe fn(*const f64, usize, f64, f64, *mut f64),
    multiply: [Multiply; Format::ALL.len()],
}

impl Kernels {
    /// The products of `n_panel` panels, one after the other, with rows `start` … `end − 1` of the activations: [`multiply`] or
    /// [`multiply_plain`].
    ///
    /// # Safety
    ///
    /// The panels are of `format` with `x.n_block` blocks of columns each; the rest as for those two.
    #[inline]
    pub unsafe fn multiply(
        &self,
        format: Format,
        (panels, n_panel): (*const u8, usize),
        x: &Activations,
        (start, end): (usize, usize),
        out: *mut f32,
        stride: usize,
    ) {
        // SAFETY: the caller's duty.
        unsafe { (self.multiply[format as usize])(panels, n_panel, x, start, end, out, stride) }
    }

    /// The tables of this architecture, best first.
    pub fn all() -> &'static [&'static Kernels] {
        TABLES
    }

    /// Tables in which others stand in for instructions that few processors have: to be checked, never chosen.
    #[cfg(feature = "conformance")]
    pub fn emulated() -> &'static [&'static Kernels] {
        EMULATED
    }

    /// What `cpu` lacks for this table.
    pub fn missing<'a>(&'a self, cpu: &'a CpuFeatures) -> impl Iterator<Item = &'static str> + 'a {
        self.needs.iter().copied().filter(|feature| !cpu.has(feature))
    }

    /// The best table that `cpu` can run, or the one that `forced` names.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKernels`] if no table has the forced name, [`Error::UnsupportedKernels`] if `cpu` cannot run it.
    pub fn choose(cpu: &CpuFeatures, forced: Option<&str>) -> Result<&'static Kernels, Error> {
        let runs = |table: &&&'static Kernels| table.missing(cpu).next().is_none();
        let Some(name) = forced else {
            return Ok(TABLES.iter().find(runs).expect("the portable table needs nothing"));
        };
        let join = |names: Vec<&str>| -> String { names.join(", ") };
        let Some(table) = TABLES.iter().find(|table| table.name == name) else {
            return Err(Error::UnknownKernels {
                got: name.to_string(),
                valid: join(TABLES.iter().map(|table| table.name).collect()),
            });
        };
        let missing: Vec<&str> = table.missing(cpu).collect();
        if missing.is_empty() {
            return Ok(table);
        }
        Err(Error::UnsupportedKernels {
            name: table.name,
            missing: join(missing),
            usable: join(TABLES.iter().filter(runs).map(|table| table.name).collect()),
        })
    }
}

/// Compiles every kernel with what a table needs enabled, and gathers the results in a table.
macro_rules! table {
    ($module:ident, $Set:ty, $name:literal, [$($need:literal),*]) => {
        mod $module {
            use super::*;

            table! {@functions $Set, [$(#[target_feature(enable = $need)])*];
                fn quantize_(x: &Activations, row: usize, start: usize, end: usize) = quantize::<$Set>;
                fn rms_norm_(x: *const f32, w: *const f32, n: usize, eps: f32, out: *mut f32) = rms_norm::<$Set>;
                fn silu_mul_(gate: *const f32, up: *const f32, n: usize, out: *mut f32) = silu_mul::<$Set>;
                fn add_(x: *mut f32, y: *const f32, n: usize) = add::<$Set>;
                fn scale_(x: *mut f32, a: f32, n: usize) = scale::<$Set>;
                fn rope_(head: *mut f32, cos: *const f32, sin: *const f32, n_pair: usize, adjacent: bool) = rope::<$Set>;
                fn attend_f16(tile: &Tile) = attend::<$Set, u16>;
                fn attend_f32(tile: &Tile) = attend::<$Set, f32>;
                fn finish_(tile: &Tile, out: *mut f32, stride: usize) = finish::<$Set>;
                fn to_f16_(x: *const f32, n: usize, out: *mut u16) = to_f16::<$Set>;
                fn exp_(x: *const f32, n: usize, out: *mut f32) = exp_all::<$Set>;
                fn weigh_(x: *const f64, n: usize, max: f64, temperature: f64, out: *mut f64) = weigh;
            }

            $(#[target_feature(enable = $need)])*
            unsafe fn codes<Q: BlockFormat>(
                panels: *const u8, n_panel: usize, x: &Activations, start: usize, end: usize, out: *mut f32, stride: usize,
            ) {
                // SAFETY: the table is chosen only where the set exists; pointers are the caller's duty.
                unsafe { multiply::<$Set, Q>(panels, n_panel, x, start, end, out, stride) }
            }

            $(#[target_feature(enable = $need)])*
            unsafe fn plain<P: Plain>(
                panels: *const u8, n_panel: usize, x: &Activations, start: usize, end: usize, out: *mut f32, stride: usize,
            ) {
                // SAFETY: the table is chosen only where the set exists; pointers are the caller's duty.
                unsafe { multiply_plain::<$Set, P>(panels, n_panel, x, start, end, out, stride) }
            }

            pub(super) static KERNELS: Kernels = Kernels {
                name: $name,
                needs: &[$($need),*],
                tile: <$Set as Simd>::TILE,
                quantize: quantize_,
                rms_norm: rms_norm_,
                silu_mul: silu_mul_,
                add: add_,
                scale: scale_,
                rope: rope_,
                attend_f16,
                attend_f32,
                finish: finish_,
                to_f16: to_f16_,
                exp: exp_,
                weigh: weigh_,
                multiply: {
                    let mut functions = [plain::<format::F32> as Multiply; Format::ALL.len()];
                    let mut i = 0;
                    while i < functions.len() {
                        let format = Format::ALL[i];
                        functions[format as usize] = with_format!(format, F => codes::<F>, P => plain::<P>);
                        i += 1;
                    }
                    functions
                },
            };
        }
    };
    (@functions $Set:ty, $attributes:tt; $(fn $function:ident($($a:ident: $t:ty),*) = $generic:expr;)*) => {
        $( table! {@function $attributes $function ($($a: $t),*) $generic} )*
    };
    (@function [$($attribute:tt)*] $function:ident ($($a:ident: $t:ty),*) $generic:expr) => {
        $($attribute)*
        unsafe fn $function($($a: $t),*) {
            // SAFETY: the table is chosen only where the set exists; pointers are the caller's duty.
            unsafe { $generic($($a),*) }
        }
    };
}

table!(portable, crate::arithmetic::portable::Portable, "portable", []);
#[cfg(target_arch = "x86_64")]
table!(sse2, crate::arithmetic::sse2::Sse2, "sse2", []);
#[cfg(target_arch = "x86_64")]
table!(avx2, crate::arithmetic::avx2::Avx2, "avx2", ["avx2", "f16c"]);
#[cfg(target_arch = "x86_64")]
table!(avxvnni, crate::arithmetic::avxvnni::AvxVnni, "avxvnni", ["avx2", "f16c", "avxvnni"]);
#[cfg(all(target_arch = "x86_64", feature = "conformance"))]
table!(emulated_avxvnni, crate::arithmetic::avxvnni::EmulatedAvxVnni, "emulated avxvnni", ["avx2", "f16c"]);
#[cfg(target_arch = "x86_64")]
table!(
    avx512,
    crate::arithmetic::avx512::Avx512,
    "avx512",
    ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "f16c"]
);
#[cfg(target_arch = "aarch64")]
table!(neon, crate::arithmetic::neon::Neon, "neon", []);
#[cfg(target_arch = "aarch64")]
table!(dotprod, crate::arithmetic::dotprod::DotProd, "dotprod", ["dotprod"]);

#[cfg(target_arch = "x86_64")]
static TABLES: &[&Kernels] = &[&avx512::KERNELS, &avxvnni::KERNELS, &avx2::KERNELS, &sse2::KERNELS, &portable::KERNELS];
#[cfg(target_arch = "aarch64")]
static TABLES: &[&Kernels] = &[&dotprod::KERNELS, &neon::KERNELS, &portable::KERNELS];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static TABLES: &[&Kernels] = &[&portable::KERNELS];

#[cfg(all(feature = "conformance", target_arch = "x86_64"))]
static EMULATED: &[&Kernels] = &[&emulated_avxvnni::KERNELS];
#[cfg(all(feature = "conformance", not(target_arch = "x86_64")))]
static EMULATED: &[&Kernels] = &[];
