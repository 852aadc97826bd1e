//! Rotary position embedding (Su et al. 2021), with linear and YaRN scaling (Peng et al. 2023): `docs/arithmetic.md`, section 5.

use crate::arithmetic::float64::{TRIGONOMETRIC_LIMIT, cos, exp, ln, sin};
use crate::config::{ModelConfig, RopeScaling};
use alloc::vec::Vec;

/// The f64 nearest to 2π.
const TWO_PI: f64 = core::f64::consts::TAU;

/// How fast each pair turns, and how long the turned pairs get.
pub struct Rope {
    /// Angle from one position to the next, `[rope_dim ÷ 2]`.
    angles: Vec<f64>,
    magnitude: f64,
}

/// Largest integer not above `x`, for |x| < 2^52.
fn floor(x: f64) -> f64 {
    let whole = x as i64 as f64;
    if whole > x { whole - 1.0 } else { whole }
}

fn max(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

fn min(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

impl Rope {
    /// The rotation of a model; `rope_freqs` divides the frequencies where the model has it.
    pub fn new(model: &ModelConfig, rope_freqs: Option<&[f32]>) -> Rope {
        let (dim, base, factor) = (model.rope_dim as f64, model.rope_base, model.rope_factor);
        let turns_to_dim = |n_turn: f64| {
            let turn = model.rope_original_ctx as f64 / (n_turn * TWO_PI);
            dim * ln(turn) / (2.0 * ln(base))
        };
        let angle = |i: usize| {
            let mut freq = exp(-(2.0 * i as f64 / dim) * ln(base));
            if let Some(divisors) = rope_freqs {
                freq /= f64::from(divisors[i]);
            }
            match model.rope_scaling {
                RopeScaling::None => freq,
                RopeScaling::Linear => freq / factor,
                RopeScaling::Yarn => {
                    let low = max(0.0, floor(turns_to_dim(model.rope_beta_fast)));
                    let high = min(dim - 1.0, -floor(-turns_to_dim(model.rope_beta_slow)));
                    let slope = (i as f64 - low) / max(0.001, high - low);
                    let ramp = 1.0 - min(1.0, max(0.0, slope));
                    let mix = ramp * model.rope_ext_factor;
                    (freq / factor) * (1.0 - mix) + freq * mix
                }
            }
        };
        let mut magnitude = model.rope_attn_factor;
        if model.rope_scaling == RopeScaling::Yarn && model.rope_ext_factor != 0.0 && factor > 1.0 {
            magnitude *= 1.0 + 0.1 * ln(factor);
        }
        Rope { angles: (0..model.rope_dim / 2).map(angle).collect(), magnitude }
    }

    /// Positions whose angles are within what sine and cosine take: the fastest pair turns furthest.
    pub fn n_position_max(&self) -> usize {
        // What is not a number bounds nothing here; it shows in the logits.
        let fastest = self.angles.iter().fold(0.0, |fastest, angle| max(angle.abs(), fastest));
        ((TRIGONOMETRIC_LIMIT / fastest) as usize).saturating_add(1)
    }

    /// Pairs of a head.
    pub fn n_pair(&self) -> usize {
        self.angles.len()
    }

    /// Cosine and sine of every pair at a position.
    ///
    /// # Safety
    ///
    /// Both arrays are writable for [`Rope::n_pair`] values.
    pub unsafe fn write(&self, pos: usize, cos_out: *mut f32, sin_out: *mut f32) {
        for (i, angle) in self.angles.iter().enumerate() {
            let theta = pos as f64 * angle;
            // SAFETY: the caller's duty; i < n_pair.
            unsafe {
                cos_out.add(i).write((cos(theta) * self.magnitude) as f32);
                sin_out.add(i).write((sin(theta) * self.magnitude) as f32);
            }
        }
    }
}
