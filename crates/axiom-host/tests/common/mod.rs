//! Random models for tests: sane scales, random codes.
#![allow(dead_code)] // each test binary uses a part

use axiom_core::config::{ModelConfig, RopePairing, RopeScaling};
use axiom_core::digest::digest;
use axiom_core::error::Error;
use axiom_core::format::Format;
use axiom_core::kernels::{CpuFeatures, Kernels};
use axiom_core::memory::KVFormat;
use axiom_core::model::{MemoryPlan, ModelLayout, StoredExtent, TensorBytes, TensorSource, WeightImage, pack_matrix};
use axiom_core::runtime::{Append, Engine, Options, WeightSource};
use axiom_host::disk::Disk;
use axiom_host::{Host, Region};

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// −1 … 1
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

pub struct Tensor {
    name: String,
    format: Format,
    n_row: usize,
    n_col: usize,
    bytes: Vec<u8>,
}

/// Where a block's f16 scales are, what they should be near to, and the block's bytes.
fn scales(format: Format) -> (&'static [usize], f32, usize) {
    match format {
        Format::F32 | Format::F16 | Format::BF16 => (&[], 0.0, 0),
        Format::Q8_0 => (&[0], 0.001, 34),
        Format::Q4_0 => (&[0], 0.015, 18),
        Format::Q4_1 => (&[0, 2], 0.015, 20),
        Format::Q5_0 => (&[0], 0.008, 22),
        Format::Q5_1 => (&[0, 2], 0.008, 24),
        Format::Q2K => (&[80, 82], 0.004, 84),
        Format::Q3K => (&[108], 0.001, 110),
        Format::Q4K => (&[0, 2], 0.0003, 144),
        Format::Q5K => (&[0, 2], 0.0002, 176),
        Format::Q6K => (&[208], 0.00005, 210),
    }
}

fn tensor(random: &mut Random, name: String, format: Format, n_row: usize, n_col: usize) -> Tensor {
    use axiom_core::arithmetic::half::f32_to_f16;
    let n = n_row * n_col;
    let mut bytes: Vec<u8> = match format {
        Format::F32 => (0..n).flat_map(|_| (random.unit() * 0.1).to_le_bytes()).collect(),
        Format::F16 => (0..n).flat_map(|_| f32_to_f16(random.unit() * 0.1).to_le_bytes()).collect(),
        Format::BF16 => {
            (0..n).flat_map(|_| ((random.unit() * 0.1).to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect()
        }
        _ => (0..format.bytes_row(n_col).unwrap() * n_row).map(|_| (random.next() >> 33) as u8).collect(),
    };
    let (offsets, near, bytes_block) = scales(format);
    if bytes_block > 0 {
        for block in bytes.chunks_exact_mut(bytes_block) {
            for &at in offsets {
                block[at..at + 2].copy_from_slice(&f32_to_f16(near * (1.0 + 0.5 * random.unit())).to_le_bytes());
            }
        }
    }
    Tensor { name, format, n_row, n_col, bytes }
}

pub fn config() -> ModelConfig {
    ModelConfig {
        n_vocab: 83,
        n_embd: 256,
        n_layer: 2,
        n_ff: 512,
        n_head: 6,
        n_head_kv: 2,
        head_dim: 24,
        rope_dim: 24,
        rope_base: 10000.0,
        rope_pairing: RopePairing::Norm,
        rope_scaling: RopeScaling::None,
        rope_factor: 1.0,
        rope_original_ctx: 512,
        rope_attn_factor: 1.0,
        rope_beta_fast: 32.0,
        rope_beta_slow: 1.0,
        rope_ext_factor: 1.0,
        rms_eps: 1e-5,
        tied_output: false,
        qk_norm: false,
    }
}

/// All tensors of a model; matrices whose columns are no whole blocks of `format` are F16.
pub fn tensors(config: &ModelConfig, format: Format, seed: u64) -> Vec<Tensor> {
    let mut random = Random(seed * 2 + 1);
    let mut all = Vec::new();
    let (n_embd, n_ff, n_q, n_kv) = (config.n_embd, config.n_ff, config.n_q(), config.n_kv());
    let r = &mut random;
    let matrix = |name: &str, n_row: usize, n_col: usize, r: &mut Random| {
        let format = if n_col.is_multiple_of(format.columns_per_block()) { format } else { Format::F16 };
        tensor(r, format!("{name}.weight"), format, n_row, n_col)
    };
    all.push(matrix("token_embd", config.n_vocab, n_embd, r));
    for layer in 0..config.n_layer {
        let name = |part: &str| format!("blk.{layer}.{part}");
        all.push(tensor(r, name("attn_norm.weight"), Format::F32, 1, n_embd));
        all.push(tensor(r, name("ffn_norm.weight"), Format::F32, 1, n_embd));
        if config.qk_norm {
            all.push(tensor(r, name("attn_q_norm.weight"), Format::F32, 1, config.head_dim));
            all.push(tensor(r, name("attn_k_norm.weight"), Format::F32, 1, config.head_dim));
        }
        for (part, n_row, n_col) in [
            ("attn_q", n_q, n_embd),
            ("attn_k", n_kv, n_embd),
            ("attn_v", n_kv, n_embd),
            ("attn_output", n_embd, n_q),
            ("ffn_gate", n_ff, n_embd),
            ("ffn_up", n_ff, n_embd),
            ("ffn_down", n_embd, n_ff),
        ] {
            all.push(matrix(&name(part), n_row, n_col, r));
        }
        all.push(tensor(r, name("attn_q.bias"), Format::F32, 1, n_q));
    }
    all.push(tensor(r, "output_norm.weight".into(), Format::F32, 1, n_embd));
    if !config.tied_output {
        all.push(matrix("output", config.n_vocab, n_embd, r));
    }
    // Norm weights near 10 so that rows of weights of 0.1 give activations near 1.
    for tensor in all.iter_mut().filter(|t| t.name.contains("norm")) {
        for number in tensor.bytes.chunks_exact_mut(4) {
            let value = f32::from_le_bytes(number.try_into().unwrap());
            number.copy_from_slice(&(1.0 + value).to_le_bytes());
        }
    }
    all
}

/// Which new positions get logits.
#[derive(Clone, Copy)]
#[allow(dead_code)] // each test program uses its own part of this module
pub enum LogitRows {
    All,
    Last,
    None,
}

/// A batch as the engine takes it.
pub fn appends<'a>(batch: &[(usize, &'a [u32])], rows: LogitRows) -> Vec<Append<'a>> {
    let n_logit = |tokens: &[u32]| match rows {
        LogitRows::All => tokens.len(),
        LogitRows::Last => tokens.len().min(1),
        LogitRows::None => 0,
    };
    batch.iter().map(|&(seq, tokens)| Append { seq, tokens, n_logit: n_logit(tokens) }).collect()
}

/// An engine and the memory it lives in. Fields drop in order: the engine first.
pub struct Model {
    pub engine: Engine,
    _region: Region,
}

pub fn load(config: &ModelConfig, tensors: &[Tensor], kernels: &str, threads: usize, kv: KVFormat) -> Model {
    load_for(config, tensors, kernels, threads, Options { n_ctx: 700, n_seq_max: 70, rows_per_pass: 256, kv })
}

pub fn load_for(config: &ModelConfig, tensors: &[Tensor], kernels: &str, threads: usize, options: Options) -> Model {
    let sources = sources(tensors);
    let kernels = Kernels::choose(&CpuFeatures::detect(), Some(kernels)).unwrap();
    let mut region = None;
    // SAFETY: the region is kept beside the engine and dropped after it; the table was chosen for this processor.
    let engine = unsafe {
        Engine::new(
            config.clone(),
            WeightSource::Tensors(&sources),
            options,
            kernels,
            Box::new(Host::start(threads).unwrap()),
            |bytes| Ok(region.insert(Region::new(bytes).unwrap()).as_ptr()),
            &mut |_, _| true,
        )
    };
    Model { engine: engine.unwrap(), _region: region.unwrap() }
}

/// The extents of a model, packed into a file behind `offset` bytes of something else.
#[allow(dead_code)]
pub struct Packed {
    pub path: std::path::PathBuf,
    pub layout: ModelLayout,
    pub extents: Vec<StoredExtent>,
}

#[allow(dead_code)]
impl Packed {
    pub fn new(config: &ModelConfig, tensors: &[Tensor], name: &str) -> Packed {
        let sources: Vec<TensorSource<'_>> = sources(tensors);
        let shapes: Vec<_> = sources.iter().map(TensorSource::shape).collect();
        let layout = ModelLayout::new(config, &shapes).unwrap();
        let host = Host::start(1).unwrap();
        let mut file = vec![0xEE; 4096];
        let mut extents = Vec::new();
        for (extent, bytes) in layout.extents.iter().enumerate() {
            let mut packed = vec![0; *bytes];
            for at in layout.tensors.iter().filter(|at| at.extent == extent) {
                let room = &mut packed[at.offset..at.offset + at.bytes];
                let source = &sources[at.tensor];
                match at.is_vector {
                    true => source.copy_vector(room).unwrap(),
                    false => pack_matrix(source, room, &host, &mut |_, _| true).unwrap(),
                }
            }
            extents.push(StoredExtent { offset: file.len() as u64, digest: digest(&packed) });
            file.extend(packed);
        }
        let path = std::env::temp_dir().join(format!("axiom-packed-{}-{name}", std::process::id()));
        std::fs::write(&path, file).unwrap();
        Packed { path, layout, extents }
    }

    pub fn image(&self) -> WeightImage {
        WeightImage {
            device: Box::new(Disk::open(&self.path).unwrap()),
            extents: self.extents.clone(),
            is_paranoid: false,
            bytes_request: 3 * 4096,
        }
    }

    /// An engine that has `budget` bytes for weights.
    pub fn open(
        &self,
        config: &ModelConfig,
        image: WeightImage,
        budget: usize,
        threads: usize,
        options: Options,
    ) -> Result<Model, Error> {
        let plan = MemoryPlan::fit(&self.layout, budget)?;
        let mut region = None;
        // SAFETY: as in `load_for`.
        let engine = unsafe {
            Engine::new(
                config.clone(),
                WeightSource::Image { layout: &self.layout, plan, image },
                options,
                Kernels::choose(&CpuFeatures::detect(), None).unwrap(),
                Box::new(Host::start(threads).unwrap()),
                |bytes| Ok(region.insert(Region::new(bytes).unwrap()).as_ptr()),
                &mut |_, _| true,
            )
        };
        Ok(Model { engine: engine?, _region: region.unwrap() })
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn sources(tensors: &[Tensor]) -> Vec<TensorSource<'_>> {
    tensors
        .iter()
        .map(|t| {
            let bytes = TensorBytes::Memory(&t.bytes);
            TensorSource { name: &t.name, format: t.format, n_row: t.n_row, n_col: t.n_col, bytes }
        })
        .collect()
}

/// The tables that this processor can run.
pub fn usable() -> Vec<&'static str> {
    let cpu = CpuFeatures::detect();
    Kernels::all().iter().filter(|k| k.missing(&cpu).next().is_none()).map(|k| k.name).collect()
}
