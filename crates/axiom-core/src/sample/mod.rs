//! From logits to a token.
//!
//! The chain is llama.cpp's: logit bias, penalties, top-k, typical, top-p, min-p, temperature, draw. `docs/sampling.md`
//! is the normative text, `axiom.reference.sample` says it in numpy; what is here gives the same tokens without
//! sorting a whole vocabulary and without allocating after [`Sampler::new`].
//!
//! | part | holds |
//! | --- | --- |
//! | [`parameters`](Parameters) | the settings, their valid ranges, their canonical bytes |
//! | [`random`] | the counter-based random numbers |
//! | `candidates` | tokens in play: the k best, and ranking no further than it is asked |
//! | `sum16` | the one order in which weights are added |
//! | `error` | what is refused, and how that is said |
//! | [`chain`](Sampler) | the chain itself |
//! | `logprobs` | log-probabilities of unmodified logits |

mod candidates;
mod chain;
mod error;
mod logprobs;
mod parameters;
pub mod random;
mod sum16;

pub use chain::Sampler;
pub use error::SampleError;
pub use parameters::{N_VOCAB_MAX, Parameters};
