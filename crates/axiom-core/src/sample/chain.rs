//! The sampler chain.
//!
//! Each step of `docs/sampling.md` is one function here, in the order of that text. Sums over candidates go by token
//! (`sum16`), cumulative sums go by rank; both are cheap as long as few candidates are left, and the steps are
//! ordered so that few are left early.

use alloc::vec;
use alloc::vec::Vec;

use super::candidates::{Candidate, Candidates};
use super::logprobs;
use super::random::uniform;
use super::sum16::Sum16;
use super::{Parameters, SampleError};
use crate::arithmetic::float64::{exp, ln};
use crate::kernels::Kernels;

/// Chooses tokens from logits. All memory is taken by [`Sampler::new`]: 40 bytes for each token.
pub struct Sampler {
    kernels: &'static Kernels,
    parameters: Parameters,
    /// Logits after bias and penalties, `[n_vocab]`.
    logits: Vec<f64>,
    /// Weights of the candidates in play, `[n_vocab]`; stale for other tokens.
    weights: Vec<f64>,
    /// How often each token occurs in the window, or whether it is in play, `[n_vocab]`; all zero between uses.
    counts: Vec<u32>,
    candidates: Candidates,
    /// Room for the tokens of the candidates in ascending order, up to `[n_vocab]`.
    ascending: Vec<u32>,
}

/// What the weights of the candidates are relative to.
struct Weighed {
    logit_max: f64,
    total: f64,
}

impl Sampler {
    /// A sampler for a vocabulary of `n_vocab` tokens, which computes with `kernels`.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(kernels: &'static Kernels, n_vocab: usize, parameters: Parameters) -> Result<Self, SampleError> {
        parameters.check(n_vocab)?;
        Ok(Self {
            kernels,
            logits: vec![0.0; n_vocab],
            weights: vec![0.0; n_vocab],
            counts: vec![0; n_vocab],
            candidates: Candidates::with_capacity(n_vocab),
            ascending: Vec::with_capacity(n_vocab),
            parameters,
        })
    }

    /// The settings.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// How many tokens the vocabulary has.
    pub fn n_vocab(&self) -> usize {
        self.logits.len()
    }

    /// The token for `position`, from its `logits` `[n_vocab]` and the tokens before it, latest last.
    ///
    /// `history` is read only where penalties are set, and then only its last `repeat_last_n` tokens.
    ///
    /// # Errors
    /// Logits of another length, a logit that is NaN or +infinity, a token of the window outside the vocabulary, or
    /// no token left to choose.
    pub fn sample(&mut self, logits: &[f32], history: &[u32], position: u32) -> Result<u32, SampleError> {
        if let Some(token) = self.narrow(logits, history)? {
            return Ok(token);
        }
        let uniform = uniform(self.parameters.seed, position);
        let weighed = self.weigh(self.parameters.temperature);
        self.bring_share_to_front(&weighed, self.parameters.temperature, uniform);
        let target = uniform * weighed.total;
        let mut reached = 0.0;
        let mut last = 0;
        self.each_by_rank(|token, weight| {
            reached += weight;
            last = token;
            reached <= target
        });
        Ok(last)
    }

    /// Gives `take` the tokens that [`Sampler::sample`] may choose, by rank, each with its probability.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn distribution(
        &mut self,
        logits: &[f32],
        history: &[u32],
        mut take: impl FnMut(u32, f64),
    ) -> Result<(), SampleError> {
        if let Some(token) = self.narrow(logits, history)? {
            take(token, 1.0);
            return Ok(());
        }
        let Weighed { total, .. } = self.weigh(self.parameters.temperature);
        self.each_by_rank(|token, weight| {
            take(token, weight / total);
            true
        });
        Ok(())
    }

    /// The log-probability of `token` under unmodified `logits`, and into `top` the most probable tokens with theirs.
    ///
    /// # Errors
    /// Logits of another length or not finite, a token outside the vocabulary, or a `top` longer than the vocabulary.
    pub fn logprobs(&mut self, logits: &[f32], token: u32, top: &mut [(u32, f64)]) -> Result<f64, SampleError> {
        if logits.len() != self.n_vocab() {
            return Err(SampleError::LogitsLength { expected: self.n_vocab(), got: logits.len() });
        }
        logprobs::logprobs(self.kernels, logits, token, top, &mut self.candidates, &mut self.weights)
    }

    /// Leaves the tokens that may be drawn in `candidates`; or gives the greedy choice.
    fn narrow(&mut self, logits: &[f32], history: &[u32]) -> Result<Option<u32>, SampleError> {
        if logits.len() != self.n_vocab() {
            return Err(SampleError::LogitsLength { expected: self.n_vocab(), got: logits.len() });
        }
        let greedy = self.parameters.temperature == 0.0;
        if greedy && !self.parameters.has_penalties() && self.parameters.logit_bias.is_empty() {
            return greedy_choice(logits).map(Some);
        }
        self.widen(logits)?;
        self.add_bias();
        if self.parameters.has_penalties() {
            self.penalise(history)?;
        }
        if greedy {
            let choice = largest(self.logits.iter().copied());
            return choice.map(Some).ok_or(SampleError::NoCandidate);
        }
        self.keep_top_k();
        if self.candidates.len() == 0 {
            return Err(SampleError::NoCandidate);
        }
        if self.parameters.typical_p < 1.0 {
            self.keep_typical();
        }
        if self.parameters.top_p < 1.0 {
            self.keep_top_p();
        }
        if self.parameters.min_p > 0.0 {
            self.keep_min_p();
        }
        Ok(None)
    }

    /// Copies the logits into binary64, which is exact.
    fn widen(&mut self, logits: &[f32]) -> Result<(), SampleError> {
        let mut all_below_infinity = true;
        for (wide, &logit) in self.logits.iter_mut().zip(logits) {
            all_below_infinity &= logit < f32::INFINITY;
            *wide = f64::from(logit);
        }
        if all_below_infinity { Ok(()) } else { Err(first_bad_logit(logits)) }
    }

    fn add_bias(&mut self) {
        for &(token, bias) in &self.parameters.logit_bias {
            self.logits[token as usize] += bias;
        }
    }

    /// Repetition, presence and frequency penalties over the window, each token once.
    fn penalise(&mut self, history: &[u32]) -> Result<(), SampleError> {
        let window = &history[history.len() - self.parameters.n_window(history.len())..];
        let n_vocab = self.n_vocab();
        if let Some(&token) = window.iter().find(|&&token| token as usize >= n_vocab) {
            return Err(SampleError::Token { place: "history", token, n_vocab });
        }
        for &token in window {
            self.counts[token as usize] += 1;
        }
        let Parameters { repeat_penalty, presence_penalty, frequency_penalty, .. } = self.parameters;
        for &token in window {
            let count = core::mem::take(&mut self.counts[token as usize]);
            if count > 0 {
                let logit = &mut self.logits[token as usize];
                *logit = if *logit <= 0.0 { *logit * repeat_penalty } else { *logit / repeat_penalty };
                *logit -= f64::from(count) * frequency_penalty + presence_penalty;
            }
        }
        Ok(())
    }

    /// Puts the `top_k` largest logits in play, or all; never one of -infinity.
    fn keep_top_k(&mut self) {
        let all = self.logits.iter().enumerate().map(|(token, &logit)| Candidate::new(logit, token as u32));
        match self.parameters.top_k {
            0 if self.logits.iter().fold(true, |all, &logit| all & (logit > f64::NEG_INFINITY)) => {
                self.candidates.keep_all(all);
            }
            0 => self.candidates.keep_best(usize::MAX, all),
            k => self.candidates.keep_best(k as usize, all),
        }
    }

    /// Weighs the candidates: `weights[token] = exp((logit - logit_max) / temperature)`, and their sum by token.
    fn weigh(&mut self, temperature: f64) -> Weighed {
        let logit_max = self.candidates.key_max();
        self.put_in_ascending_order();
        if self.candidates.len() == self.n_vocab() {
            let n_vocab = self.n_vocab();
            // SAFETY: the table is one that this processor has, and both hold `n_vocab` values.
            unsafe {
                (self.kernels.weigh)(self.logits.as_ptr(), n_vocab, logit_max, temperature, self.weights.as_mut_ptr());
            }
            return Weighed { logit_max, total: Sum16::of_all(&self.weights) };
        }
        for candidate in self.candidates.as_slice() {
            self.weights[candidate.token as usize] = exp((candidate.key - logit_max) / temperature);
        }
        let mut sum = Sum16::default();
        for &token in &self.ascending {
            sum.add(token, self.weights[token as usize]);
        }
        Weighed { logit_max, total: sum.total() }
    }

    /// Fills `ascending` with the tokens in play.
    fn put_in_ascending_order(&mut self) {
        let candidates = self.candidates.as_slice();
        if candidates.len() == self.ascending.len() && candidates.len() == self.logits.len() {
            // All tokens, as before.
            return;
        }
        self.ascending.clear();
        // Few are sorted; many are marked, and found again by going through the vocabulary once.
        if candidates.len() == self.logits.len() {
            self.ascending.extend(0..candidates.len() as u32);
        } else if candidates.len() < self.logits.len() / 32 {
            self.ascending.extend(candidates.iter().map(|candidate| candidate.token));
            self.ascending.sort_unstable();
        } else {
            for candidate in candidates {
                self.counts[candidate.token as usize] = 1;
            }
            for (count, token) in self.counts.iter_mut().zip(0..) {
                if core::mem::take(count) > 0 {
                    self.ascending.push(token);
                }
            }
        }
    }

    /// Locally typical sampling: keeps tokens whose surprise is near the entropy, until they hold enough probability.
    fn keep_typical(&mut self) {
        let Weighed { logit_max, total } = self.weigh(1.0);
        let ln_total = ln(total);
        let logits = &self.logits;
        let ln_p = |token: u32| (logits[token as usize] - logit_max) - ln_total;
        let mut sum = Sum16::default();
        for &token in &self.ascending {
            sum.add(token, (self.weights[token as usize] / total) * ln_p(token));
        }
        // The sum is minus the entropy; ln p - sum is minus the surprise plus the entropy.
        let minus_entropy = sum.total();
        self.candidates.rank_by(|token| -(ln_p(token) - minus_entropy).abs());
        let typical_p = self.parameters.typical_p;
        self.keep_until(total, |reached| reached > typical_p);
        let logits = &self.logits;
        self.candidates.rank_by(|token| logits[token as usize]);
    }

    /// Nucleus sampling: keeps the most probable tokens, up to the one whose probability reaches `top_p`.
    fn keep_top_p(&mut self) {
        let weighed = self.weigh(1.0);
        let top_p = self.parameters.top_p;
        self.bring_share_to_front(&weighed, 1.0, top_p);
        self.keep_until(weighed.total, |reached| reached >= top_p);
    }

    /// Brings to the front enough candidates to hold `share` of the weight.
    ///
    /// All n candidates below the n-th part of the other share together hold less than that share, so they are not
    /// needed to reach `share`; half of it leaves room for rounding.
    fn bring_share_to_front(&mut self, weighed: &Weighed, temperature: f64, share: f64) {
        let n_candidates = self.candidates.len() as f64;
        let least_weight = (1.0 - share) * weighed.total / (2.0 * n_candidates);
        self.candidates.bring_to_front(weighed.logit_max + temperature * ln(least_weight));
    }

    /// Keeps candidates by rank, up to and with the one at which the cumulative probability is `enough`.
    fn keep_until(&mut self, total: f64, enough: impl Fn(f64) -> bool) {
        let mut reached = 0.0;
        let mut n_kept = 0;
        while let Some(candidate) = self.candidates.get(n_kept) {
            n_kept += 1;
            reached += self.weights[candidate.token as usize] / total;
            if enough(reached) {
                break;
            }
        }
        self.candidates.truncate(n_kept);
    }

    /// Keeps tokens at least `min_p` times as probable as the best one.
    fn keep_min_p(&mut self) {
        self.candidates.keep_from(self.candidates.key_max() + ln(self.parameters.min_p));
    }

    /// Gives `take` the weighed candidates by rank, each with its weight, until it answers false or the weights end.
    fn each_by_rank(&mut self, mut take: impl FnMut(u32, f64) -> bool) {
        for idx in 0.. {
            let Some(candidate) = self.candidates.get(idx) else {
                break;
            };
            let weight = self.weights[candidate.token as usize];
            if weight == 0.0 || !take(candidate.token, weight) {
                break;
            }
        }
    }
}

/// The token of the largest logit, ties to the lower token; `None` where all are -infinity.
fn largest(logits: impl Iterator<Item = f64>) -> Option<u32> {
    let mut best = f64::NEG_INFINITY;
    let mut choice = None;
    for (logit, token) in logits.zip(0..) {
        if logit > best {
            best = logit;
            choice = Some(token);
        }
    }
    choice
}

/// Greedy choice from unmodified logits, in one pass.
fn greedy_choice(logits: &[f32]) -> Result<u32, SampleError> {
    let mut best = f32::NEG_INFINITY;
    let mut choice = None;
    for (&logit, token) in logits.iter().zip(0..) {
        // One test for the common case: a smaller logit, which is also not NaN.
        if logit <= best {
            continue;
        }
        if logit.is_nan() || logit == f32::INFINITY {
            return Err(first_bad_logit(logits));
        }
        best = logit;
        choice = Some(token);
    }
    choice.ok_or(SampleError::NoCandidate)
}

/// Names the first logit that is NaN or +infinity; there is one.
#[cold]
fn first_bad_logit(logits: &[f32]) -> SampleError {
    let bad = (0..).zip(logits).find(|(_, logit)| logit.is_nan() || **logit == f32::INFINITY);
    let (token, &got) = bad.unwrap_or((0, &f32::NAN));
    SampleError::BadLogit { token, got, valid: "finite, or -inf for a token that must not come" }
}
