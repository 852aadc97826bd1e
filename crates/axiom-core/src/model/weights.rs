//! The weights of a model: every tensor by its GGUF name, checked, packed into panels on all workers.

use super::config::ModelConfig;
use super::matrix::Matrix;
use crate::error::Error;
use crate::format::Format;
use crate::memory::TensorRegion;
use crate::platform::Platform;
use crate::schedule::Phases;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A tensor as a file has it: rows of GGUF blocks back to back.
#[derive(Clone, Copy)]
pub struct TensorSource<'a> {
    /// GGUF name.
    pub name: &'a str,
    /// How the rows are stored.
    pub format: Format,
    /// Rows.
    pub n_row: usize,
    /// Columns.
    pub n_col: usize,
    /// The rows.
    pub bytes: &'a [u8],
}

/// One layer. Biases belong to their matrices.
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

/// The whole model.
pub struct Weights {
    /// `[n_vocab, n_embd]`
    pub token_embd: Matrix,
    /// From the first to the last.
    pub layers: Vec<LayerWeights>,
    /// `[n_embd]`
    pub output_norm: *const f32,
    /// `[n_vocab, n_embd]`; the embedding itself where the model has no head of its own.
    pub output: Matrix,
    /// `[rope_dim ÷ 2]`, where the model has it.
    pub rope_freqs: Option<Vec<f32>>,
}

// SAFETY: after loading, weights are only read.
unsafe impl Send for Weights {}
// SAFETY: as above.
unsafe impl Sync for Weights {}

/// Gives out tensors by name, each once, carving room for them and noting what is to be packed.
struct Carver<'a, 'r> {
    region: &'r mut TensorRegion,
    left: Vec<TensorSource<'a>>,
    /// Matrices with their bytes, and vectors with theirs.
    matrices: Vec<(Matrix, &'a [u8])>,
    vectors: Vec<(*mut f32, &'a [u8])>,
}

impl<'a> Carver<'a, '_> {
    fn find(&mut self, name: &str, n_row: usize, n_col: usize) -> Result<Option<TensorSource<'a>>, Error> {
        let Some(at) = self.left.iter().position(|tensor| tensor.name == name) else { return Ok(None) };
        let tensor = self.left.swap_remove(at);
        let bytes = tensor.format.bytes_row(n_col).and_then(|bytes| bytes.checked_mul(n_row));
        if (tensor.n_row, tensor.n_col) != (n_row, n_col) {
            return Err(Error::Shape {
                name: name.to_string(),
                expected: format!("[{n_row}, {n_col}]"),
                got: format!("[{}, {}]", tensor.n_row, tensor.n_col),
            });
        }
        if bytes != Some(tensor.bytes.len()) {
            return Err(Error::Shape {
                name: name.to_string(),
                expected: format!("{} bytes of {}", bytes.unwrap_or(0), tensor.format.name()),
                got: format!("{} bytes", tensor.bytes.len()),
            });
        }
        Ok(Some(tensor))
    }

    fn optional_vector(&mut self, name: &str, n: usize) -> Result<*const f32, Error> {
        let Some(tensor) = self.find(name, 1, n)? else { return Ok(core::ptr::null()) };
        if tensor.format != Format::F32 {
            return Err(Error::Shape {
                name: name.to_string(),
                expected: "a vector in F32".to_string(),
                got: tensor.format.name().to_string(),
            });
        }
        let vector = self.region.carve(n)?;
        self.vectors.push((vector, tensor.bytes));
        Ok(vector)
    }

    fn vector(&mut self, name: &str, n: usize) -> Result<*const f32, Error> {
        let vector = self.optional_vector(name, n)?;
        if vector.is_null() { Err(Error::MissingTensor { name: name.to_string() }) } else { Ok(vector) }
    }

    fn matrix(&mut self, name: &str, n_row: usize, n_col: usize) -> Result<Matrix, Error> {
        let full = format!("{name}.weight");
        let tensor = self.find(&full, n_row, n_col)?.ok_or(Error::MissingTensor { name: full.clone() })?;
        let mut matrix = Matrix::carve(self.region, &full, tensor.format, n_row, n_col)?;
        matrix.set_bias(self.optional_vector(&format!("{name}.bias"), n_row)?);
        self.matrices.push((matrix, tensor.bytes));
        Ok(matrix)
    }
}

/// Weights with room carved for them, to be filled by [`Carved::pack`].
pub struct Carved<'a> {
    weights: Weights,
    matrices: Vec<(Matrix, &'a [u8])>,
    vectors: Vec<(*mut f32, &'a [u8])>,
}

impl Weights {
    /// Checks the tensors of a model by name and shape, and carves room for them.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`], [`Error::Shape`], [`Error::UnknownTensor`] for one that would be ignored, [`Error::Region`].
    pub fn carve<'a>(
        region: &mut TensorRegion,
        model: &ModelConfig,
        tensors: &[TensorSource<'a>],
    ) -> Result<Carved<'a>, Error> {
        let (n_embd, n_ff, n_q, n_kv) = (model.n_embd, model.n_ff, model.n_q(), model.n_kv());
        let mut take = Carver { region, left: tensors.to_vec(), matrices: Vec::new(), vectors: Vec::new() };
        let token_embd = take.matrix("token_embd", model.n_vocab, n_embd)?;
        let mut layers = Vec::with_capacity(model.n_layer);
        for layer in 0..model.n_layer {
            let name = |part: &str| -> String { format!("blk.{layer}.{part}") };
            let norm = |take: &mut Carver<'a, '_>, part: &str| match model.qk_norm {
                true => take.vector(&name(part), model.head_dim),
                false => Ok(core::ptr::null()),
            };
            layers.push(LayerWeights {
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
        }
        let output_norm = take.vector("output_norm.weight", n_embd)?;
        let output = if model.tied_output {
            let mut output = token_embd;
            output.set_bias(take.optional_vector("output.bias", model.n_vocab)?);
            output
        } else {
            take.matrix("output", model.n_vocab, n_embd)?
        };
        let rope_freqs = take
            .find("rope_freqs.weight", 1, model.rope_dim / 2)?
            .map(|tensor| tensor.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect());
        if let Some(tensor) = take.left.first() {
            return Err(Error::UnknownTensor { name: tensor.name.to_string() });
        }
        let Carver { matrices, vectors, .. } = take;
        Ok(Carved { weights: Weights { token_embd, layers, output_norm, output, rope_freqs }, matrices, vectors })
    }
}

impl Carved<'_> {
    /// Packs every tensor, on all workers; `progress(done, total)` in bytes, called on the calling thread, stops it with `false`.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if `progress` said so.
    ///
    /// # Safety
    ///
    /// The weights were carved from real memory, for this alone.
    pub unsafe fn pack(
        self,
        platform: &dyn Platform,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Weights, Error> {
        for (vector, bytes) in &self.vectors {
            // SAFETY: carved with as many f32 as there are bytes for; the machine is little-endian, as the file is.
            unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), vector.cast::<u8>(), bytes.len()) };
        }
        let total = self.matrices.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut done = 0;
        for (matrix, bytes) in &self.matrices {
            // A chunk is about 256 KiB of panels, the smallest piece worth handing out.
            let per_chunk = (256 * 1024 / matrix.bytes_panel().max(1)).max(1);
            let phases = Phases::new();
            platform.run(&|_worker| {
                let _ = phases.join(platform).phase(matrix.n_panel().div_ceil(per_chunk), |chunk| {
                    for panel in chunk * per_chunk..((chunk + 1) * per_chunk).min(matrix.n_panel()) {
                        // SAFETY: the caller's duty; each chunk, and so each panel, is handed out once.
                        unsafe { matrix.pack(panel, bytes) };
                    }
                });
            });
            done += bytes.len();
            if !progress(done, total) {
                return Err(Error::Cancelled);
            }
        }
        Ok(self.weights)
    }
}
