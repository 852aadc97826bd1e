//! `ModelLayout`: where every tensor of a model lies, the same in memory, in a slot that a layer is read into, and in an image.
//!
//! The weights are a row of *extents*, each on 4 KiB boundaries: the embedding, one for each layer, and the output (final norm,
//! head, rope factors). Within an extent tensors lie at multiples of 64 bytes in the order of the fields of [`LayerLayout`]:
//! matrices in panels, vectors in f32, each bias after its matrix. Addresses come from [`LayerLayout::place`], so a layer
//! computes from wherever its extent was put.

use super::matrix::Matrix;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::format::Format;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

/// Extents begin and end at multiples of this: what disks read and pages hold.
pub const EXTENT_ALIGN: usize = 4096;
/// Rows of the embedding that are read at a time.
pub(super) const EMBEDDING_ROWS_AT_ONCE: usize = 16;
/// Tensors begin at multiples of this: a cache line.
const TENSOR_ALIGN: usize = 64;

/// A tensor as a file lists it.
#[derive(Clone, Copy, Debug)]
pub struct TensorShape<'a> {
    /// GGUF name.
    pub name: &'a str,
    /// How its rows are stored.
    pub format: Format,
    /// Rows.
    pub n_row: usize,
    /// Columns.
    pub n_col: usize,
}

/// A matrix in an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixAt {
    /// How weights are stored.
    pub format: Format,
    /// Outputs.
    pub n_row: usize,
    /// Inputs.
    pub n_col: usize,
    /// Where its panels begin.
    pub offset: usize,
    /// Where its bias begins, if it has one.
    pub bias: Option<usize>,
}

impl MatrixAt {
    /// The matrix in the extent at `base`.
    pub fn place(&self, base: *const u8) -> Matrix {
        let bytes_panel = self.format.bytes_panel(self.n_col).expect("checked in the layout");
        let bias = self.bias.map_or(core::ptr::null(), |offset| vector(base, offset));
        Matrix::new(self.format, self.n_row, self.n_col, bytes_panel, base.wrapping_add(self.offset), bias)
    }
}

fn vector(base: *const u8, offset: usize) -> *const f32 {
    base.wrapping_add(offset).cast()
}

/// One layer's extent, in the order of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of `LayerWeights`
pub struct LayerLayout {
    pub attn_norm: usize,
    pub attn_q: MatrixAt,
    pub attn_k: MatrixAt,
    pub attn_v: MatrixAt,
    pub attn_q_norm: Option<usize>,
    pub attn_k_norm: Option<usize>,
    pub attn_output: MatrixAt,
    pub ffn_norm: usize,
    pub ffn_gate: MatrixAt,
    pub ffn_up: MatrixAt,
    pub ffn_down: MatrixAt,
}

/// One layer at an address. Biases belong to their matrices.
#[derive(Clone, Copy)]
pub struct LayerWeights {
    /// `[n_embd]`
    pub attn_norm: *const f32,
    /// `[n_q, n_embd]`
    pub attn_q: Matrix,
    /// `[n_kv, n_embd]`
    pub attn_k: Matrix,
    /// `[n_kv, n_embd]`
    pub attn_v: Matrix,
    /// `[head_dim]`, or null
    pub attn_q_norm: *const f32,
    /// `[head_dim]`, or null
    pub attn_k_norm: *const f32,
    /// `[n_embd, n_q]`
    pub attn_output: Matrix,
    /// `[n_embd]`
    pub ffn_norm: *const f32,
    /// `[n_ff, n_embd]`
    pub ffn_gate: Matrix,
    /// `[n_ff, n_embd]`
    pub ffn_up: Matrix,
    /// `[n_embd, n_ff]`
    pub ffn_down: Matrix,
}

impl LayerLayout {
    /// The layer whose extent is at `base`.
    pub fn place(&self, base: *const u8) -> LayerWeights {
        let optional = |offset: Option<usize>| offset.map_or(core::ptr::null(), |offset| vector(base, offset));
        LayerWeights {
            attn_norm: vector(base, self.attn_norm),
            attn_q: self.attn_q.place(base),
            attn_k: self.attn_k.place(base),
            attn_v: self.attn_v.place(base),
            attn_q_norm: optional(self.attn_q_norm),
            attn_k_norm: optional(self.attn_k_norm),
            attn_output: self.attn_output.place(base),
            ffn_norm: vector(base, self.ffn_norm),
            ffn_gate: self.ffn_gate.place(base),
            ffn_up: self.ffn_up.place(base),
            ffn_down: self.ffn_down.place(base),
        }
    }
}

/// The extent of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLayout {
    /// `[n_embd]`
    pub norm: usize,
    /// The head, unless the model uses the embedding.
    pub head: Option<MatrixAt>,
    /// Bias of the embedding where it is the head.
    pub tied_bias: Option<usize>,
    /// `[rope_dim ÷ 2]`, where the model has it.
    pub rope_freqs: Option<usize>,
}

/// A tensor and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorAt {
    /// Its index in the list that the layout was made of.
    pub tensor: usize,
    /// Its extent.
    pub extent: usize,
    /// Where it begins there.
    pub offset: usize,
    /// Bytes that it takes there.
    pub bytes: usize,
    /// Whether it is a vector in f32, not a matrix in panels.
    pub is_vector: bool,
}

/// The whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelLayout {
    /// `[n_vocab, n_embd]`, in the first extent.
    pub token_embd: MatrixAt,
    /// From the first to the last; layer L is extent L + 1.
    pub layers: Vec<LayerLayout>,
    /// The last extent.
    pub output: OutputLayout,
    /// Bytes of each extent, a multiple of [`EXTENT_ALIGN`].
    pub extents: Vec<usize>,
    /// Every tensor, in the order of its bytes.
    pub tensors: Vec<TensorAt>,
}

impl ModelLayout {
    /// The extent of the embedding.
    pub const EMBEDDING: usize = 0;

    /// Lays out the tensors of a model.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`], [`Error::Shape`], [`Error::UnknownTensor`] for one that would be ignored.
    pub fn new(model: &ModelConfig, tensors: &[TensorShape<'_>]) -> Result<ModelLayout, Error> {
        let (n_embd, n_ff, n_q, n_kv) = (model.n_embd, model.n_ff, model.n_q(), model.n_kv());
        let mut take = Tensors {
            list: tensors,
            is_taken: alloc::vec![false; tensors.len()],
            placed: Vec::new(),
            extents: Vec::new(),
            used: 0,
        };
        let token_embd = take.matrix("token_embd", model.n_vocab, n_embd)?;
        take.end_extent();
        // A configuration may claim more layers than any memory has room for.
        let mut layers = Vec::with_capacity(model.n_layer.min(tensors.len()));
        for layer in 0..model.n_layer {
            let name = |part: &str| -> String { format!("blk.{layer}.{part}") };
            let norm = |take: &mut Tensors<'_>, part: &str| match model.qk_norm {
                true => take.vector(&name(part), model.head_dim).map(Some),
                false => Ok(None),
            };
            layers.push(LayerLayout {
                attn_norm: take.vector(&name("attn_norm.weight"), n_embd)?,
                attn_q: take.matrix(&name("attn_q"), n_q, n_embd)?,
                attn_k: take.matrix(&name("attn_k"), n_kv, n_embd)?,
                attn_v: take.matrix(&name("attn_v"), n_kv, n_embd)?,
                attn_q_norm: norm(&mut take, "attn_q_norm.weight")?,
                attn_k_norm: norm(&mut take, "attn_k_norm.weight")?,
                attn_output: take.matrix(&name("attn_output"), n_embd, n_q)?,
                ffn_norm: take.vector(&name("ffn_norm.weight"), n_embd)?,
                ffn_gate: take.matrix(&name("ffn_gate"), n_ff, n_embd)?,
                ffn_up: take.matrix(&name("ffn_up"), n_ff, n_embd)?,
                ffn_down: take.matrix(&name("ffn_down"), n_embd, n_ff)?,
            });
            take.end_extent();
        }
        let norm = take.vector("output_norm.weight", n_embd)?;
        let (head, tied_bias) = match model.tied_output {
            true => (None, take.optional_vector("output.bias", model.n_vocab)?),
            false => (Some(take.matrix("output", model.n_vocab, n_embd)?), None),
        };
        let rope_freqs = take.optional_vector("rope_freqs.weight", model.rope_dim / 2)?;
        take.end_extent();
        if let Some(i) = take.is_taken.iter().position(|taken| !taken) {
            return Err(Error::UnknownTensor { name: tensors[i].name.to_string() });
        }
        let output = OutputLayout { norm, head, tied_bias, rope_freqs };
        Ok(ModelLayout { token_embd, layers, output, extents: take.extents, tensors: take.placed })
    }

    /// The extent of a layer.
    pub const fn layer_extent(layer: usize) -> usize {
        layer + 1
    }

    /// The extents of all layers.
    pub fn layer_extents(&self) -> Range<usize> {
        1..self.output_extent()
    }

    /// The extent of the output.
    pub fn output_extent(&self) -> usize {
        self.extents.len() - 1
    }

    /// Room for the embedding rows that are read at a time, where the embedding is not in memory.
    pub fn bytes_embedding_rows(&self) -> usize {
        EMBEDDING_ROWS_AT_ONCE * self.bytes_embedding_row()
    }

    /// Room for the panel of a row, which begins anywhere in a page.
    pub(super) fn bytes_embedding_row(&self) -> usize {
        let at = &self.token_embd;
        let bytes_panel = at.format.bytes_panel(at.n_col).expect("checked in the layout");
        round_up(bytes_panel + EXTENT_ALIGN - 1, EXTENT_ALIGN)
    }

    /// Bytes of all extents.
    pub fn bytes(&self) -> usize {
        self.extents.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

fn round_up(n: usize, align: usize) -> usize {
    n.checked_next_multiple_of(align).unwrap_or(usize::MAX - (align - 1))
}

/// Gives out tensors by name, each once, one behind the other.
struct Tensors<'a> {
    list: &'a [TensorShape<'a>],
    is_taken: Vec<bool>,
    placed: Vec<TensorAt>,
    extents: Vec<usize>,
    /// Bytes of the open extent.
    used: usize,
}

impl Tensors<'_> {
    fn find(&mut self, name: &str, n_row: usize, n_col: usize) -> Result<Option<usize>, Error> {
        let Some(at) = (0..self.list.len()).find(|&i| !self.is_taken[i] && self.list[i].name == name) else {
            return Ok(None);
        };
        self.is_taken[at] = true;
        let tensor = &self.list[at];
        if (tensor.n_row, tensor.n_col) != (n_row, n_col) {
            return Err(Error::Shape {
                name: name.to_string(),
                expected: format!("[{n_row}, {n_col}]"),
                got: format!("[{}, {}]", tensor.n_row, tensor.n_col),
            });
        }
        Ok(Some(at))
    }

    /// Room for `bytes` at the end of the open extent. Sizes beyond all memory saturate; nobody can carve them.
    fn place(&mut self, tensor: usize, bytes: usize, is_vector: bool) -> usize {
        let offset = round_up(self.used, TENSOR_ALIGN);
        self.placed.push(TensorAt { tensor, extent: self.extents.len(), offset, bytes, is_vector });
        self.used = offset.saturating_add(bytes);
        offset
    }

    fn end_extent(&mut self) {
        self.extents.push(round_up(self.used, EXTENT_ALIGN));
        self.used = 0;
    }

    fn optional_vector(&mut self, name: &str, n: usize) -> Result<Option<usize>, Error> {
        let Some(at) = self.find(name, 1, n)? else { return Ok(None) };
        let format = self.list[at].format;
        if format != Format::F32 {
            return Err(Error::Shape {
                name: name.to_string(),
                expected: "a vector in F32".to_string(),
                got: format.name().to_string(),
            });
        }
        Ok(Some(self.place(at, 4 * n, true)))
    }

    fn vector(&mut self, name: &str, n: usize) -> Result<usize, Error> {
        self.optional_vector(name, n)?.ok_or_else(|| Error::MissingTensor { name: name.to_string() })
    }

    fn matrix(&mut self, name: &str, n_row: usize, n_col: usize) -> Result<MatrixAt, Error> {
        let full = format!("{name}.weight");
        let Some(at) = self.find(&full, n_row, n_col)? else { return Err(Error::MissingTensor { name: full }) };
        let format = self.list[at].format;
        let Some(bytes) = format.bytes_matrix(n_row, n_col) else {
            return Err(Error::Shape {
                name: full,
                expected: format!("columns in whole blocks of {}", format.columns_per_block()),
                got: format!("{n_col}"),
            });
        };
        let offset = self.place(at, bytes, false);
        let bias = self.optional_vector(&format!("{name}.bias"), n_row)?;
        Ok(MatrixAt { format, n_row, n_col, offset, bias })
    }
}
