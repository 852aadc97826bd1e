//! Log-probabilities: `ln p = (logit - logit_max) - ln Σ exp(logit - logit_max)` in binary64, summed by `sum16`.

use super::SampleError;
use super::candidates::{Candidate, Candidates};
use super::sum16::Sum16;
use crate::arithmetic::float64::ln;
use crate::kernels::Kernels;

/// The log-probability of `token`, and into `top` the most probable tokens in order, ties to the lower token.
///
/// `scratch` must have room for every logit, or nothing here is free of allocation; `weights` holds as many.
pub(super) fn logprobs(
    kernels: &Kernels,
    logits: &[f32],
    token: u32,
    top: &mut [(u32, f64)],
    scratch: &mut Candidates,
    weights: &mut [f64],
) -> Result<f64, SampleError> {
    let n_vocab = logits.len();
    if token as usize >= n_vocab {
        return Err(SampleError::Token { place: "token", token, n_vocab });
    }
    if top.len() > n_vocab {
        return Err(SampleError::OutOfRange {
            name: "top_n",
            valid: "from 0 to the size of the vocabulary",
            got: top.len() as f64,
        });
    }
    let (logit_max, ln_total) = normaliser(kernels, logits, weights)?;
    let ln_p = |logit: f64| (logit - logit_max) - ln_total;
    if !top.is_empty() {
        let all = logits.iter().zip(0..).map(|(&logit, token)| Candidate::new(f64::from(logit), token));
        scratch.keep_best(top.len(), all);
        for (idx, entry) in top.iter_mut().enumerate() {
            // Finite logits all become candidates, and there are at least as many as `top` has places.
            if let Some(candidate) = scratch.get(idx) {
                *entry = (candidate.token, ln_p(candidate.key));
            }
        }
    }
    Ok(ln_p(f64::from(logits[token as usize])))
}

/// The largest logit, and the logarithm of the sum of the weights relative to it.
fn normaliser(kernels: &Kernels, logits: &[f32], weights: &mut [f64]) -> Result<(f64, f64), SampleError> {
    if let Some((token, &got)) = (0..).zip(logits).find(|(_, logit)| !logit.is_finite()) {
        return Err(SampleError::BadLogit { token, got, valid: "finite" });
    }
    let logit_max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    for (wide, &logit) in weights.iter_mut().zip(logits) {
        *wide = f64::from(logit);
    }
    let n = logits.len().min(weights.len());
    // SAFETY: the table is one that this processor has, and there are so many values. To divide by 1 changes nothing.
    unsafe { (kernels.weigh)(weights.as_ptr(), n, logit_max, 1.0, weights.as_mut_ptr()) };
    Ok((logit_max, ln(Sum16::of_all(&weights[..n]))))
}
