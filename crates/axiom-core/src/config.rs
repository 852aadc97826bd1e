//! The numbers that shape a model, checked. Names are those of GGUF and the papers (`docs/glossary.md`).

use crate::error::Error;

/// Which elements of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairing {
    /// Neighbours: 2i and 2i + 1.
    Norm,
    /// Halves: i and i + rope_dim ÷ 2.
    Neox,
}

/// How rotations are stretched to longer contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear,
    /// YaRN: slow frequencies divided, fast ones kept.
    Yarn,
}

/// The shape of a model.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the glossary's
pub struct ModelConfig {
    pub n_vocab: usize,
    pub n_embd: usize,
    pub n_layer: usize,
    pub n_ff: usize,
    pub n_head: usize,
    pub n_head_kv: usize,
    pub head_dim: usize,
    pub rope_dim: usize,
    pub rope_base: f64,
    pub rope_pairing: RopePairing,
    pub rope_scaling: RopeScaling,
    pub rope_factor: f64,
    pub rope_original_ctx: usize,
    pub rope_attn_factor: f64,
    pub rope_beta_fast: f64,
    pub rope_beta_slow: f64,
    pub rope_ext_factor: f64,
    pub rms_eps: f32,
    pub tied_output: bool,
    pub qk_norm: bool,
}

/// No count of a model comes near it; products of two stay within 64 bits.
const MOST: usize = 1 << 30;

impl ModelConfig {
    /// Checks what the engine relies on.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the field.
    pub fn check(&self) -> Result<(), Error> {
        let counts = [
            ("n_vocab", self.n_vocab),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_ff", self.n_ff),
            ("n_head", self.n_head),
            ("n_head_kv", self.n_head_kv),
            ("head_dim", self.head_dim),
            ("n_head × head_dim", self.n_head.saturating_mul(self.head_dim)),
        ];
        for (name, got) in counts {
            if got == 0 || got > MOST {
                return Err(Error::Config { name, expected: "a count from 1 to 2^30", got: got as f64 });
            }
        }
        let wrong = |name, expected, got: f64| Err(Error::Config { name, expected, got });
        if !self.n_head.is_multiple_of(self.n_head_kv) {
            return wrong("n_head_kv", "a divisor of n_head", self.n_head_kv as f64);
        }
        if !self.rope_dim.is_multiple_of(2) || self.rope_dim > self.head_dim {
            return wrong("rope_dim", "an even number up to head_dim", self.rope_dim as f64);
        }
        if !(self.rope_base > 0.0 && self.rope_base.is_finite()) {
            return wrong("rope_base", "a positive number", self.rope_base);
        }
        if !(self.rope_factor > 0.0 && self.rope_factor.is_finite()) {
            return wrong("rope_factor", "a positive number", self.rope_factor);
        }
        if !(self.rms_eps >= 0.0 && self.rms_eps.is_finite()) {
            return wrong("rms_eps", "a number from 0 up", f64::from(self.rms_eps));
        }
        Ok(())
    }

    /// Outputs of the query projection.
    pub fn n_q(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Outputs of the key projection, and of the value projection.
    pub fn n_kv(&self) -> usize {
        self.n_head_kv * self.head_dim
    }
}
