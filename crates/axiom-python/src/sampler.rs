//! `axiom._native.Sampler`: the sampler of the core, with the interface of `axiom.reference.sample.Sampler`.

use axiom_core::sample::{N_VOCAB_MAX, Parameters, SampleError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping};

use crate::arguments::{Integer, Number};
use crate::host::choose_kernels;
use crate::logits::with_logits;

/// Chooses tokens from logits; `docs/sampling.md` has the meanings, ranges and neutral values of the settings.
#[pyclass(module = "axiom._native")]
pub struct Sampler {
    inner: axiom_core::sample::Sampler,
    /// The window of the history, kept between calls for its memory.
    window: Vec<u32>,
}

/// Every refusal of the sampler is about a value.
fn refuse(error: SampleError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl Sampler {
    #[new]
    #[pyo3(
        signature = (
            n_vocab, *, temperature=Number(1.0), top_k=Integer::of(0), top_p=Number(1.0), min_p=Number(0.0),
            typical_p=Number(1.0), repeat_penalty=Number(1.0), presence_penalty=Number(0.0),
            frequency_penalty=Number(0.0), repeat_last_n=Integer::of(64), logit_bias=None, seed=Integer::of(0),
            kernels=None
        ),
        text_signature = "(n_vocab, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, \
                          repeat_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0, repeat_last_n=64, \
                          logit_bias=None, seed=0, kernels=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        n_vocab: Integer,
        temperature: Number,
        top_k: Integer,
        top_p: Number,
        min_p: Number,
        typical_p: Number,
        repeat_penalty: Number,
        presence_penalty: Number,
        frequency_penalty: Number,
        repeat_last_n: Integer,
        logit_bias: Option<Bound<'_, PyMapping>>,
        seed: Integer,
        kernels: Option<&str>,
    ) -> PyResult<Self> {
        let n_vocab = n_vocab.within("n_vocab", "from 1 to 2147483648", 1, N_VOCAB_MAX as i128)? as usize;
        let top_k_range = "from 0 to 4294967295 (0 keeps every token)";
        let window_range = "from -1 to 2147483647 (0 is no window, -1 the whole history)";
        let seed_range = "from 0 to 18446744073709551615";
        let parameters = Parameters {
            temperature: temperature.0,
            top_k: top_k.within("top_k", top_k_range, 0, i128::from(u32::MAX))? as u32,
            top_p: top_p.0,
            min_p: min_p.0,
            typical_p: typical_p.0,
            repeat_penalty: repeat_penalty.0,
            presence_penalty: presence_penalty.0,
            frequency_penalty: frequency_penalty.0,
            repeat_last_n: repeat_last_n.within("repeat_last_n", window_range, -1, i128::from(i32::MAX))? as i32,
            seed: seed.within("seed", seed_range, 0, i128::from(u64::MAX))? as u64,
            logit_bias: logit_bias.map_or_else(|| Ok(Vec::new()), |bias| ascending_bias(&bias, n_vocab))?,
        };
        let kernels = choose_kernels(py, kernels)?;
        let inner = axiom_core::sample::Sampler::new(kernels, n_vocab, parameters).map_err(refuse)?;
        Ok(Self { inner, window: Vec::new() })
    }

    /// How many tokens the vocabulary has.
    #[getter]
    fn n_vocab(&self) -> usize {
        self.inner.n_vocab()
    }

    /// The settings as bytes, for a receipt.
    fn canonical_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.parameters().canonical_bytes())
    }

    /// The token for `position`, from its `logits` [n_vocab] and the tokens before it, latest last.
    fn sample(&mut self, logits: &Bound<'_, PyAny>, history: &Bound<'_, PyAny>, position: Integer) -> PyResult<u32> {
        let position = position.as_u32("position")?;
        self.read_window(history)?;
        with_logits(logits, |logits| self.inner.sample(logits, &self.window, position).map_err(refuse))
    }

    /// The tokens that `sample` may choose, by rank, each with its probability.
    fn distribution(&mut self, logits: &Bound<'_, PyAny>, history: &Bound<'_, PyAny>) -> PyResult<Vec<(u32, f64)>> {
        self.read_window(history)?;
        let mut pairs = Vec::new();
        with_logits(logits, |logits| {
            let take = |token, probability| pairs.push((token, probability));
            self.inner.distribution(logits, &self.window, take).map_err(refuse)
        })?;
        Ok(pairs)
    }

    /// The log-probability of `token` under unmodified `logits` [n_vocab], and the `top_n` best with theirs.
    #[pyo3(signature = (logits, token, top_n=Integer::of(0)), text_signature = "($self, logits, token, top_n=0)")]
    fn logprobs(
        &mut self,
        logits: &Bound<'_, PyAny>,
        token: Integer,
        top_n: Integer,
    ) -> PyResult<(f64, Vec<(u32, f64)>)> {
        let n_vocab = self.inner.n_vocab();
        let token = token.as_token("token", n_vocab)?;
        let top_n = top_n.within("top_n", &format!("from 0 to {n_vocab}"), 0, n_vocab as i128)? as usize;
        let mut top = vec![(0, 0.0); top_n];
        let chosen = with_logits(logits, |logits| self.inner.logprobs(logits, token, &mut top).map_err(refuse))?;
        Ok((chosen, top))
    }
}

impl Sampler {
    /// Fills `window` with the tokens that the penalties look at: none where there are no penalties.
    fn read_window(&mut self, history: &Bound<'_, PyAny>) -> PyResult<()> {
        self.window.clear();
        let parameters = self.inner.parameters();
        if !parameters.has_penalties() {
            return Ok(());
        }
        let n_history = history.len()?;
        for idx in n_history - parameters.n_window(n_history)..n_history {
            let token: Integer = history.get_item(idx)?.extract()?;
            self.window.push(token.as_token("token of history", self.inner.n_vocab())?);
        }
        Ok(())
    }
}

/// The pairs of `bias` in ascending order of token, as the core takes them.
fn ascending_bias(bias: &Bound<'_, PyMapping>, n_vocab: usize) -> PyResult<Vec<(u32, f64)>> {
    let mut pairs = Vec::new();
    for pair in bias.items()? {
        let (token, value): (Integer, Number) = pair.extract()?;
        pairs.push((token.as_token("token of logit_bias", n_vocab)?, value.0));
    }
    pairs.sort_by_key(|pair| pair.0);
    // Keys that Python tells apart can still be one token (any object with `__index__`): the last one counts.
    pairs.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = later.1;
        }
        same
    });
    Ok(pairs)
}
