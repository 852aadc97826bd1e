//! The hash chain of a receipt: SHA-256 over what went into a generation and over the bits of every logit.
//!
//! Two runs with the same digest after token t had the same logits, to the last bit, at every token up to t. The byte
//! layout is in `docs/receipts.md`; `axiom.reference.receipt` is the twin.

use core::fmt;

use sha2::{Digest, Sha256};

/// What separates this use of SHA-256 from any other, and this layout from a later one.
const DOMAIN_TAG: &[u8; 16] = b"axiom-receipt-1\0";

/// The digest after each step.
pub type ChainDigest = [u8; 32];

/// A logit that no receipt vouches for: a damaged model or cache must not be proved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonFiniteLogit {
    /// The position whose logits these are.
    pub position: u32,
    /// The first token with such a logit.
    pub token: usize,
    /// Its logit.
    pub got: f32,
}

impl fmt::Display for NonFiniteLogit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, token, got } = self;
        write!(
            f,
            "logit of token {token} at position {position} must be finite, got {got}; the model or its cache is damaged"
        )
    }
}

impl core::error::Error for NonFiniteLogit {}

/// The running digest over a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptChain {
    digest: ChainDigest,
}

impl ReceiptChain {
    /// Starts a chain from all that the logits and the choice of tokens depend on.
    ///
    /// `contract` names the arithmetic, `model_digest` is the SHA-256 of the model, `sampling` the canonical bytes of
    /// the sampling parameters. Lengths are hashed before contents, so no two starts share a digest.
    ///
    /// # Panics
    /// Where a field has 2^32 elements or more.
    pub fn new(contract: &str, model_digest: &[u8; 32], prompt: &[u32], sampling: &[u8]) -> Self {
        let length =
            |n: usize| u32::try_from(n).expect("a field of a receipt has fewer than 2^32 elements").to_le_bytes();
        let mut hash = Sha256::new();
        hash.update(DOMAIN_TAG);
        hash.update(length(contract.len()));
        hash.update(contract.as_bytes());
        hash.update(model_digest);
        hash.update(length(prompt.len()));
        for token in prompt {
            hash.update(token.to_le_bytes());
        }
        hash.update(length(sampling.len()));
        hash.update(sampling);
        Self { digest: hash.finalize().into() }
    }

    /// Appends the choice of `token` for `position` and the `logits` `[n_vocab]` it was chosen from.
    ///
    /// # Errors
    /// A logit that is not finite; the chain is then as it was.
    pub fn update(&mut self, position: u32, token: u32, logits: &[f32]) -> Result<ChainDigest, NonFiniteLogit> {
        if let Some(idx) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(NonFiniteLogit { position, token: idx, got: logits[idx] });
        }
        let mut hash = Sha256::new();
        hash.update(self.digest);
        hash.update(position.to_le_bytes());
        hash.update(token.to_le_bytes());
        // Bytes go through a small buffer: the layout is little-endian on every machine.
        let mut bytes = [0_u8; 1024];
        for chunk in logits.chunks(bytes.len() / 4) {
            for (four, logit) in bytes.chunks_exact_mut(4).zip(chunk) {
                four.copy_from_slice(&logit.to_le_bytes());
            }
            hash.update(&bytes[..4 * chunk.len()]);
        }
        self.digest = hash.finalize().into();
        Ok(self.digest)
    }

    /// The digest so far.
    pub fn digest(&self) -> ChainDigest {
        self.digest
    }
}
