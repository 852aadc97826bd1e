//! What the sampler refuses, with what was expected and what came.

use core::fmt;

/// A setting, a logit or a history that the sampler does not take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleError {
    /// A number outside its range.
    OutOfRange {
        /// The parameter as the caller spells it.
        name: &'static str,
        /// The valid range in words, with what the neutral value means.
        valid: &'static str,
        /// What came.
        got: f64,
    },
    /// A logit bias for a token that the vocabulary lacks.
    BiasToken {
        /// What came.
        token: u32,
        /// How many tokens there are.
        n_vocab: usize,
    },
    /// A logit bias that is NaN, +infinity or out of range.
    BiasValue {
        /// The token it is for.
        token: u32,
        /// What came.
        got: f64,
    },
    /// The logits of another vocabulary.
    LogitsLength {
        /// Tokens in the vocabulary.
        expected: usize,
        /// Logits that came.
        got: usize,
    },
    /// A logit that no probability follows from.
    BadLogit {
        /// The first token with such a logit.
        token: u32,
        /// Its logit.
        got: f32,
        /// What a logit may be here.
        valid: &'static str,
    },
    /// A token of the history or of a question that the vocabulary lacks.
    Token {
        /// Where it stood: "history" or "token".
        place: &'static str,
        /// What came.
        token: u32,
        /// How many tokens there are.
        n_vocab: usize,
    },
    /// Every token is excluded.
    NoCandidate,
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfRange { name, valid, got } => write!(f, "{name} must be {valid}, got {got:?}"),
            Self::BiasToken { token, n_vocab } => {
                write!(f, "logit_bias names token {token}, but the vocabulary has tokens 0 to {}", n_vocab - 1)
            }
            Self::BiasValue { token, got } => write!(
                f,
                "logit_bias of token {token} must be from -1e9 to 1e9, or -inf to exclude the token, got {got:?}"
            ),
            Self::LogitsLength { expected, got } => {
                write!(f, "logits must hold one value for each of the {expected} tokens, got {got}")
            }
            Self::BadLogit { token, got, valid } => {
                write!(f, "logit of token {token} must be {valid}, got {got}; the model or its cache is damaged")
            }
            Self::Token { place, token, n_vocab } => {
                write!(f, "{place} names token {token}, but the vocabulary has tokens 0 to {}", n_vocab - 1)
            }
            Self::NoCandidate => f.write_str(
                "every token is excluded (a logit of -inf after bias and penalties); leave at least one token possible",
            ),
        }
    }
}

impl core::error::Error for SampleError {}
