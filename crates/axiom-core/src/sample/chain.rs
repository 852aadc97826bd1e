//! The sampler chain.
//!
//! Each step of `docs/sampling.md` is one function here, in the order of that text. Sums over candidates go by token
//! (`sum16`), cumulative sums go by rank; both are cheap as long as few candidates are left, and the steps are
//! ordered so that few are left early.

use alloc::vec;
use alloc::vec::Vec;

use super::candidates::{Candidate, Ranking, keep_best, sort_by_token};
use super::logprobs;
use super::random::uniform;
use super::sum16::Sum16;
use super::{Parameters, SampleError};
use crate::arithmetic::float64::{exp, ln};

/// Chooses tokens from logits. All memory is taken by [`Sampler::new`]: about 36 bytes for each token.
pub struct Sampler {
    parameters: Parameters,
    /// Logits after bias and penalties, `[n_vocab]`.
    logits: Vec<f64>,
    /// Weights of the candidates in play, `[n_vocab]`; stale for other tokens.
    weights: Vec<f64>,
    /// How often each token occurs in the window, `[n_vocab]`; all zero between calls.
    counts: Vec<u32>,
    candidates: Vec<Candidate>,
    /// Whether `candidates` stand in ascending order of token.
    by_token: bool,
}

/// What the weights of the candidates are relative to.
struct Weighed {
    logit_max: f64,
    total: f64,
}

impl Sampler {
    /// A sampler for a vocabulary of `n_vocab` tokens.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(n_vocab: usize, parameters: Parameters) -> Result<Self, SampleError> {
        parameters.check(n_vocab)?;
        Ok(Self {
            logits: vec![0.0; n_vocab],
            weights: vec![0.0; n_vocab],
            counts: vec![0; n_vocab],
            candidates: Vec::with_capacity(n_vocab),
            by_token: true,
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
    pub fn sample(
        &mut self,
        logits: &[f32],
        history: &[u32],
        position: u32,
    ) -> Result<u32, SampleError> {
        if let Some(token) = self.narrow(logits, history)? {
            return Ok(token);
        }
        let uniform = uniform(self.parameters.seed, position);
        let mut target = 0.0;
        let mut reached = 0.0;
        let mut last = 0;
        self.weighted_by_rank(|token, weight, total| {
            target = uniform * total;
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
        self.weighted_by_rank(|token, weight, total| {
            take(token, weight / total);
            true
        });
        Ok(())
    }

    /// The log-probability of `token` under unmodified `logits`, and into `top` the most probable tokens with theirs.
    ///
    /// # Errors
    /// Logits of another length or not finite, a token outside the vocabulary, or a `top` longer than the vocabulary.
    pub fn logprobs(
        &mut self,
        logits: &[f32],
        token: u32,
        top: &mut [(u32, f64)],
    ) -> Result<f64, SampleError> {
        if logits.len() != self.n_vocab() {
            return Err(SampleError::LogitsLength {
                expected: self.n_vocab(),
                got: logits.len(),
            });
        }
        logprobs::logprobs(logits, token, top, &mut self.candidates)
    }

    /// Leaves the tokens that may be drawn in `candidates`; or gives the greedy choice.
    fn narrow(&mut self, logits: &[f32], history: &[u32]) -> Result<Option<u32>, SampleError> {
        if logits.len() != self.n_vocab() {
            return Err(SampleError::LogitsLength {
                expected: self.n_vocab(),
                got: logits.len(),
            });
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
        if self.candidates.is_empty() {
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
        if all_below_infinity {
            Ok(())
        } else {
            Err(first_bad_logit(logits))
        }
    }

    fn add_bias(&mut self) {
        for &(token, bias) in &self.parameters.logit_bias {
            self.logits[token as usize] += bias;
        }
    }

    /// Repetition, presence and frequency penalties over the window, each token once.
    fn penalise(&mut self, history: &[u32]) -> Result<(), SampleError> {
        let n_window = match self.parameters.repeat_last_n {
            -1 => history.len(),
            n => history.len().min(n as usize),
        };
        let window = &history[history.len() - n_window..];
        let n_vocab = self.n_vocab();
        if let Some(&token) = window.iter().find(|&&token| token as usize >= n_vocab) {
            return Err(SampleError::Token {
                place: "history",
                token,
                n_vocab,
            });
        }
        for &token in window {
            self.counts[token as usize] += 1;
        }
        let Parameters {
            repeat_penalty,
            presence_penalty,
            frequency_penalty,
            ..
        } = self.parameters;
        for &token in window {
            let count = core::mem::take(&mut self.counts[token as usize]);
            if count > 0 {
                let logit = &mut self.logits[token as usize];
                *logit = if *logit <= 0.0 {
                    *logit * repeat_penalty
                } else {
                    *logit / repeat_penalty
                };
                *logit -= f64::from(count) * frequency_penalty + presence_penalty;
            }
        }
        Ok(())
    }

    /// Puts the `top_k` largest logits in play, or all; never one of -infinity.
    fn keep_top_k(&mut self) {
        let top_k = match self.parameters.top_k {
            0 => usize::MAX,
            k => k as usize,
        };
        let all = self
            .logits
            .iter()
            .zip(0..)
            .map(|(&logit, token)| Candidate::new(logit, token));
        keep_best(&mut self.candidates, top_k, all);
        // Nothing is cut, and so nothing is moved, while all fit.
        self.by_token = top_k >= self.logits.len();
    }

    /// Weighs the candidates: `weights[token] = exp((logit - logit_max) / temperature)`, and their sum by token.
    fn weigh(&mut self, temperature: f64) -> Weighed {
        if !self.by_token {
            sort_by_token(&mut self.candidates);
            self.by_token = true;
        }
        let logit_max = self
            .candidates
            .iter()
            .fold(f64::NEG_INFINITY, |max, candidate| max.max(candidate.key));
        let mut sum = Sum16::default();
        for candidate in &self.candidates {
            let weight = exp((candidate.key - logit_max) / temperature);
            self.weights[candidate.token as usize] = weight;
            sum.add(candidate.token, weight);
        }
        Weighed {
            logit_max,
            total: sum.total(),
        }
    }

    /// Locally typical sampling: keeps tokens whose surprise is near the entropy, until they hold enough probability.
    fn keep_typical(&mut self) {
        let Weighed { logit_max, total } = self.weigh(1.0);
        let ln_total = ln(total);
        let mut sum = Sum16::default();
        for candidate in &mut self.candidates {
            let ln_p = (candidate.key - logit_max) - ln_total;
            let p = &mut self.weights[candidate.token as usize];
            *p /= total;
            sum.add(candidate.token, *p * ln_p);
            candidate.key = ln_p;
        }
        // The sum is minus the entropy; ln_p - sum is minus the surprise plus the entropy.
        let minus_entropy = sum.total();
        for candidate in &mut self.candidates {
            *candidate = Candidate::new(-(candidate.key - minus_entropy).abs(), candidate.token);
        }
        let weights = &self.weights;
        let mut ranking = Ranking::new(&mut self.candidates);
        let mut reached = 0.0;
        let mut n_kept = 0;
        while let Some(candidate) = ranking.get(n_kept) {
            n_kept += 1;
            reached += weights[candidate.token as usize];
            if reached > self.parameters.typical_p {
                break;
            }
        }
        self.candidates.truncate(n_kept);
        for candidate in &mut self.candidates {
            *candidate = Candidate::new(self.logits[candidate.token as usize], candidate.token);
        }
        self.by_token = false;
    }

    /// Nucleus sampling: keeps the most probable tokens, up to the one whose probability reaches `top_p`.
    fn keep_top_p(&mut self) {
        let Weighed { total, .. } = self.weigh(1.0);
        let weights = &self.weights;
        let mut ranking = Ranking::new(&mut self.candidates);
        let mut reached = 0.0;
        let mut n_kept = 0;
        while let Some(candidate) = ranking.get(n_kept) {
            n_kept += 1;
            reached += weights[candidate.token as usize] / total;
            if reached >= self.parameters.top_p {
                break;
            }
        }
        self.candidates.truncate(n_kept);
        self.by_token = false;
    }

    /// Keeps tokens at least `min_p` times as probable as the best one.
    fn keep_min_p(&mut self) {
        let logit_max = self
            .candidates
            .iter()
            .fold(f64::NEG_INFINITY, |max, candidate| max.max(candidate.key));
        let bound = logit_max + ln(self.parameters.min_p);
        self.candidates.retain(|candidate| candidate.key >= bound);
    }

    /// Weighs the candidates at the temperature and gives `take` each by rank, with its weight and the sum of all,
    /// until it answers false or the weights end.
    fn weighted_by_rank(&mut self, mut take: impl FnMut(u32, f64, f64) -> bool) {
        let Weighed { total, .. } = self.weigh(self.parameters.temperature);
        let weights = &self.weights;
        let mut ranking = Ranking::new(&mut self.candidates);
        for idx in 0.. {
            let Some(candidate) = ranking.get(idx) else {
                break;
            };
            let weight = weights[candidate.token as usize];
            if weight == 0.0 || !take(candidate.token, weight, total) {
                break;
            }
        }
        self.by_token = false;
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
    let bad = (0..)
        .zip(logits)
        .find(|(_, logit)| logit.is_nan() || **logit == f32::INFINITY);
    let (token, &got) = bad.unwrap_or((0, &f32::NAN));
    SampleError::BadLogit {
        token,
        got,
        valid: "finite, or -inf for a token that must not come",
    }
}
