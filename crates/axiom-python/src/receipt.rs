//! `axiom._native.ReceiptChain`: the hash chain of the core, with the interface of `axiom.reference.receipt`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments::Integer;
use crate::logits::with_logits;

/// The running digest over a generation; `docs/receipts.md` has the layout of what is hashed.
#[pyclass(module = "axiom._native")]
pub struct ReceiptChain {
    inner: axiom_core::receipt::ReceiptChain,
}

#[pymethods]
impl ReceiptChain {
    #[new]
    fn new(contract: &str, model_digest: &[u8], prompt: Vec<Integer>, sampling: &[u8]) -> PyResult<Self> {
        let digest = model_digest.try_into().map_err(|_| {
            PyValueError::new_err(format!(
                "model_digest must be the 32 bytes of a SHA-256, got {} bytes",
                model_digest.len()
            ))
        })?;
        let prompt = prompt.iter().map(|token| token.as_u32("prompt token")).collect::<PyResult<Vec<_>>>()?;
        Ok(Self { inner: axiom_core::receipt::ReceiptChain::new(contract, digest, &prompt, sampling) })
    }

    /// Appends the choice of `token` for `position` and the `logits` [n_vocab] it was chosen from.
    ///
    /// Gives the digest so far. ValueError for a logit that is not finite; the chain is then as it was.
    fn update<'py>(
        &mut self,
        py: Python<'py>,
        position: Integer,
        token: Integer,
        logits: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (position, token) = (position.as_u32("position")?, token.as_u32("token")?);
        with_logits(logits, |logits| {
            let digest = self.inner.update(position, token, logits);
            digest.map(|digest| PyBytes::new(py, &digest)).map_err(|error| PyValueError::new_err(error.to_string()))
        })
    }

    /// The digest so far.
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.digest())
    }

    /// The digest so far, as 64 hexadecimal digits.
    fn hexdigest(&self) -> String {
        self.inner.digest().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A chain that goes on from here by itself.
    fn copy(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}
