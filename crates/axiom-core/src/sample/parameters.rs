//! The settings of the sampler: neutral values, valid ranges, and the bytes that a receipt hashes.
//!
//! The ranges keep every number in the chain finite: a logit is at most 3.5e38 in magnitude, and the widest bias and
//! penalties here cannot carry it out of binary64. So the chain itself needs no check for overflow.

use alloc::vec::Vec;

use super::SampleError;

/// The largest vocabulary: token ids stay below 2^31, so that every language holds them in its plain integer.
pub const N_VOCAB_MAX: usize = 1 << 31;

/// How a token is chosen. [`Parameters::default`] changes nothing: it draws from the model's own distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Divides the logits before the draw; 0 chooses the largest logit.
    pub temperature: f64,
    /// Keeps the k largest logits; 0 keeps all.
    pub top_k: u32,
    /// Keeps the fewest tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f64,
    /// Keeps tokens at least this many times as probable as the most probable one; 0 keeps all.
    pub min_p: f64,
    /// Keeps the most typical tokens whose probabilities exceed this sum (Meister et al. 2022); 1 keeps all.
    pub typical_p: f64,
    /// Divides positive and multiplies other logits of recent tokens (Keskar et al. 2019); 1 changes nothing.
    pub repeat_penalty: f64,
    /// Taken from the logit of every recent token.
    pub presence_penalty: f64,
    /// Taken from the logit of a recent token once for each time it occurs.
    pub frequency_penalty: f64,
    /// How many of the latest tokens are recent: 0 none, -1 all.
    pub repeat_last_n: i32,
    /// Added to the logits of single tokens, in ascending order of token, each token once; -infinity excludes one.
    pub logit_bias: Vec<(u32, f64)>,
    /// Keys the random numbers, together with the position.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repeat_last_n: 64,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl Parameters {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// The first setting out of its range, in the order of the fields.
    pub fn check(&self, n_vocab: usize) -> Result<(), SampleError> {
        let range = |name, valid, got: f64, low: f64, high: f64| {
            // Written so that NaN fails.
            if low <= got && got <= high { Ok(()) } else { Err(SampleError::OutOfRange { name, valid, got }) }
        };
        const PROBABILITY: &str = "from 0 to 1 (1 keeps every token)";
        const PENALTY: &str = "from -1000 to 1000 (0 changes nothing)";
        if n_vocab == 0 || n_vocab > N_VOCAB_MAX {
            return Err(SampleError::OutOfRange {
                name: "n_vocab",
                valid: "from 1 to 2147483648",
                got: n_vocab as f64,
            });
        }
        range("temperature", "finite and at least 0 (0 is greedy)", self.temperature, 0.0, f64::MAX)?;
        range("top_p", PROBABILITY, self.top_p, 0.0, 1.0)?;
        range("min_p", "from 0 to 1 (0 keeps every token)", self.min_p, 0.0, 1.0)?;
        range("typical_p", PROBABILITY, self.typical_p, 0.0, 1.0)?;
        range("repeat_penalty", "from 0.001 to 1000 (1 changes nothing)", self.repeat_penalty, 0.001, 1000.0)?;
        range("presence_penalty", PENALTY, self.presence_penalty, -1000.0, 1000.0)?;
        range("frequency_penalty", PENALTY, self.frequency_penalty, -1000.0, 1000.0)?;
        if self.repeat_last_n < -1 {
            return Err(SampleError::OutOfRange {
                name: "repeat_last_n",
                valid: "from -1 to 2147483647 (0 is no window, -1 the whole history)",
                got: f64::from(self.repeat_last_n),
            });
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= n_vocab {
                return Err(SampleError::BiasToken { token, n_vocab });
            }
            if !((-1e9..=1e9).contains(&bias) || bias == f64::NEG_INFINITY) {
                return Err(SampleError::BiasValue { token, got: bias });
            }
        }
        debug_assert!(self.logit_bias.is_sorted_by(|a, b| a.0 < b.0), "logit_bias in ascending order, each token once");
        Ok(())
    }

    /// Whether repetition, presence or frequency changes any logit; the history is read only then.
    pub fn has_penalties(&self) -> bool {
        self.repeat_last_n != 0
            && (self.repeat_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0)
    }

    /// Tokens at the end of a history of `n_history` that the penalties look at.
    pub fn n_window(&self, n_history: usize) -> usize {
        match self.repeat_last_n {
            -1 => n_history,
            n => n_history.min(n as usize),
        }
    }

    /// The settings as bytes, the same in every body; `docs/receipts.md` gives the layout.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(80 + 12 * self.logit_bias.len());
        // Adding +0 turns -0, which chooses the same tokens, into +0.
        let mut put = |number: f64| bytes.extend_from_slice(&(number + 0.0).to_le_bytes());
        put(self.temperature);
        put(self.top_p);
        put(self.min_p);
        put(self.typical_p);
        put(self.repeat_penalty);
        put(self.presence_penalty);
        put(self.frequency_penalty);
        bytes.extend_from_slice(&self.top_k.to_le_bytes());
        bytes.extend_from_slice(&self.repeat_last_n.to_le_bytes());
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        // check() holds the tokens below n_vocab, and each occurs once, so the count fits.
        bytes.extend_from_slice(&(self.logit_bias.len() as u32).to_le_bytes());
        for &(token, bias) in &self.logit_bias {
            bytes.extend_from_slice(&token.to_le_bytes());
            bytes.extend_from_slice(&(bias + 0.0).to_le_bytes());
        }
        bytes
    }
}
