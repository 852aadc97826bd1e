//! `axiom._native.Tokenizer` and its decoder.

use crate::error::to_py;
use crate::leaving::Inside;
use crate::metadata::{self, StringsBuffer};
use axiom_core::error::Error;
use axiom_core::text::source::{KEY_MERGES, KEY_SCORES, KEY_TOKENS, KEY_TYPES, ROLES};
use axiom_core::text::{self, VocabSource};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::sync::Arc;

/// Encodes texts and decodes tokens by the vocabulary that the metadata of a GGUF model holds.
#[pyclass(frozen, module = "axiom._native")]
pub struct Tokenizer {
    core: Arc<text::Tokenizer>,
}

impl Tokenizer {
    fn checked_id(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<u32> {
        let vocab = self.core.vocab();
        match id.extract::<i64>() {
            Ok(id) => vocab.checked_id(id).map_err(|error| to_py(py, &error)),
            Err(_) if id.hasattr("__index__")? => Err(PyValueError::new_err(format!(
                "token id {} is outside the vocabulary; ids go from 0 to {}",
                id.str()?,
                vocab.n_vocab() - 1
            ))),
            Err(_) => Err(PyTypeError::new_err(format!("a token id must be an int, not {}", id.get_type().name()?))),
        }
    }
}

#[pymethods]
impl Tokenizer {
    /// Check the keys `tokenizer.ggml.*` of `metadata` and build the tables.
    #[new]
    fn new(py: Python<'_>, metadata: &Bound<'_, PyDict>) -> PyResult<Self> {
        let inside = Inside::enter(py);
        let fail = |error: Error| to_py(py, &error);
        let Some(model) = metadata::text(metadata, "tokenizer.ggml.model")? else {
            return Err(fail(metadata::missing("tokenizer.ggml.model", "the name of a tokenizer")));
        };
        let Some(tokens) = StringsBuffer::read(metadata, KEY_TOKENS)? else {
            return Err(fail(metadata::missing(KEY_TOKENS, "an array of strings")));
        };
        let pre = metadata::text(metadata, "tokenizer.ggml.pre")?;
        let name = metadata::text(metadata, "general.name")?;
        let types = metadata::integers(metadata, KEY_TYPES)?;
        let scores = metadata::numbers(metadata, KEY_SCORES)?;
        let merges = StringsBuffer::read(metadata, KEY_MERGES)?;
        let mut ids = [None; ROLES.len()];
        for (id, key) in ids.iter_mut().zip(ROLES) {
            *id = metadata::integer(metadata, key)?;
        }
        let source = VocabSource {
            model: &model,
            pre: pre.as_deref(),
            name: name.as_deref(),
            tokens: tokens.view(KEY_TOKENS).map_err(fail)?,
            types: types.as_deref(),
            scores: scores.as_deref(),
            merges: merges.as_ref().map(|merges| merges.view(KEY_MERGES)).transpose().map_err(fail)?,
            ids,
            add_bos: metadata::flag(metadata, "tokenizer.ggml.add_bos_token")?,
            add_eos: metadata::flag(metadata, "tokenizer.ggml.add_eos_token")?,
            add_space_prefix: metadata::flag(metadata, "tokenizer.ggml.add_space_prefix")?,
        };
        let core = inside.released(py, || text::Tokenizer::new(&source)).map_err(fail)?;
        Ok(Tokenizer { core: Arc::new(core) })
    }

    /// The tokens of `text`.
    ///
    /// `add_special` adds the begin- and end-of-text tokens that the model asks for; `parse_special` makes tokens of the
    /// texts of control tokens, such as `<|im_end|>`; `at_start` says that a text begins here, before which SentencePiece
    /// puts a space.
    #[pyo3(signature = (text, add_special=true, parse_special=false, at_start=true))]
    fn encode(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyString>,
        add_special: bool,
        parse_special: bool,
        at_start: bool,
    ) -> PyResult<Vec<u32>> {
        let inside = Inside::enter(py);
        let text = text.to_str().map_err(|error| lone_surrogate(text).unwrap_or(error))?;
        inside
            .released(py, || self.core.encode(text, add_special, parse_special, at_start))
            .map_err(|error| to_py(py, &error))
    }

    /// The text of `ids`.
    ///
    /// `at_start` says that they begin a text, so that the space that `encode` puts there is taken away again; `special`
    /// shows control tokens by their text. Bytes that are no text become U+FFFD.
    #[pyo3(signature = (ids, at_start=true, special=false))]
    fn decode(&self, py: Python<'_>, ids: &Bound<'_, PyAny>, at_start: bool, special: bool) -> PyResult<String> {
        let inside = Inside::enter(py);
        let ids = ids.try_iter()?.map(|id| self.checked_id(py, &id?)).collect::<PyResult<Vec<u32>>>()?;
        Ok(inside.released(py, || self.core.decode(&ids, at_start, special)))
    }

    /// A decoder for tokens that come one at a time; the arguments are those of `decode`.
    #[pyo3(signature = (at_start=true, special=false))]
    fn decoder(slf: Bound<'_, Self>, at_start: bool, special: bool) -> TextDecoder {
        let core = slf.get().core.decoder(at_start, special);
        TextDecoder { tokenizer: slf.unbind(), core }
    }

    /// The bytes that token `id` stands for.
    fn token_bytes<'py>(&self, py: Python<'py>, id: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let id = self.checked_id(py, id)?;
        Ok(PyBytes::new(py, self.core.vocab().piece(id)))
    }

    /// The text of token `id` as the model file writes it.
    fn token_text(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<String> {
        let id = self.checked_id(py, id)?;
        Ok(String::from_utf8_lossy(self.core.vocab().text(id)).into_owned())
    }

    /// What token `id` is for: normal, unknown, control, user_defined, unused or byte.
    fn token_kind(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<&'static str> {
        let id = self.checked_id(py, id)?;
        Ok(self.core.vocab().kind(id).name())
    }

    /// The token whose text in the model file is `text`, or None.
    fn token_id(&self, text: &Bound<'_, PyString>) -> Option<u32> {
        let text = text.to_str().ok()?;
        self.core.vocab().find(text.bytes()).filter(|_| !text.is_empty())
    }

    /// Number of tokens.
    #[getter]
    fn n_vocab(&self) -> usize {
        self.core.vocab().n_vocab()
    }

    /// The algorithm, as `tokenizer.ggml.model` names it.
    #[getter]
    fn model(&self) -> &'static str {
        self.core.vocab().algorithm().name()
    }

    /// The pre-tokenizer's name, or None where the algorithm has no such step.
    #[getter]
    fn pre(&self) -> Option<&'static str> {
        self.core.pre()
    }

    /// The token that begins a text, or None.
    #[getter]
    fn bos_id(&self) -> Option<u32> {
        self.core.ids().bos
    }

    /// The token that ends a text, or None.
    #[getter]
    fn eos_id(&self) -> Option<u32> {
        self.core.ids().eos
    }

    /// The token that ends a turn, or None.
    #[getter]
    fn eot_id(&self) -> Option<u32> {
        self.core.ids().eot
    }

    /// The token that ends a message inside a turn, or None.
    #[getter]
    fn eom_id(&self) -> Option<u32> {
        self.core.ids().eom
    }

    /// The token for what the vocabulary cannot write, or None.
    #[getter]
    fn unk_id(&self) -> Option<u32> {
        self.core.ids().unk
    }

    /// The token that separates two texts, or None.
    #[getter]
    fn sep_id(&self) -> Option<u32> {
        self.core.ids().sep
    }

    /// The token that fills a batch, or None.
    #[getter]
    fn pad_id(&self) -> Option<u32> {
        self.core.ids().pad
    }

    /// All tokens that end a generation, ascending.
    #[getter]
    fn eog_ids(&self) -> Vec<u32> {
        self.core.ids().eog.clone()
    }

    /// Whether `encode` puts the begin-of-text token first when asked for special tokens.
    #[getter]
    fn add_bos(&self) -> bool {
        self.core.add_bos()
    }

    /// Whether `encode` puts the end-of-text token last when asked for special tokens.
    #[getter]
    fn add_eos(&self) -> bool {
        self.core.add_eos()
    }

    /// Whether a text is encoded with a space before it.
    #[getter]
    fn add_space_prefix(&self) -> bool {
        self.core.add_space_prefix()
    }
}

/// Decodes tokens that come one at a time; what it returns never holds a broken character.
#[pyclass(module = "axiom._native")]
pub struct TextDecoder {
    tokenizer: Py<Tokenizer>,
    core: text::TextDecoder,
}

#[pymethods]
impl TextDecoder {
    /// Take token `id`; returns the characters that are complete with it.
    fn push(&mut self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<String> {
        let tokenizer = self.tokenizer.get();
        let id = tokenizer.checked_id(py, id)?;
        let mut text = String::new();
        self.core.push(tokenizer.core.vocab(), id, &mut |c| text.push(c));
        Ok(text)
    }

    /// End of the text; returns U+FFFD if a character is not complete.
    fn finish(&mut self) -> String {
        let mut text = String::new();
        self.core.finish(&mut |c| text.push(c));
        text
    }
}

/// The error that names the first lone surrogate of `text`.
fn lone_surrogate(text: &Bound<'_, PyString>) -> Option<PyErr> {
    let utf32 = text.call_method1("encode", ("utf-32-le", "surrogatepass")).ok()?.extract::<Vec<u8>>().ok()?;
    let codes = utf32.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
    let (index, code) = codes.enumerate().find(|(_, code)| (0xD800..0xE000).contains(code))?;
    Some(PyValueError::new_err(format!(
        "the text has a lone surrogate, U+{code:04X}, at index {index}, which no UTF-8 can hold; decode its source with \
         errors='replace'"
    )))
}
