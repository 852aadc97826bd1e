//! Log-probabilities: `ln p = (logit - logit_max) - ln Σ exp(logit - logit_max)` in binary64, summed by `sum16`.

use super::SampleError;
use super::candidates::{Candidate, Candidates};
use super::sum16::Sum16;
use crate::arithmetic::float64::{exp, ln};

/// The log-probability of `token`, and into `top` the most probable tokens in order, ties to the lower token.
///
/// `scratch` must have room for every logit, or nothing here is free of allocation.
pub(super) fn logprobs(
    logits: &[f32],
    token: u32,
    top: &mut [(u32, f64)],
    scratch: &mut Candidates,
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
    let (logit_max, ln_total) = normaliser(logits)?;
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
fn normaliser(logits: &[f32]) -> Result<(f64, f64), SampleError> {
    if let Some((token, &got)) = (0..).zip(logits).find(|(_, logit)| !logit.is_finite()) {
        return Err(SampleError::BadLogit { token, got, valid: "finite" });
    }
    let logit_max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total = Sum16::of_all(logits, |logit| exp(f64::from(logit) - logit_max));
    Ok((logit_max, ln(total)))
}
