//! Programs on the key-value cache: sequences, what they share, and what they read back.

use super::{Answer, Step, done, said, unknown};
use crate::arithmetic::TILE_POSITIONS;
use crate::config::{ModelConfig, RopePairing, RopeScaling};
use crate::conformance::inputs::{Memory, portable};
use crate::error::Error;
use crate::memory::{KVCachePool, KVFormat, TensorRegion};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// One of everything that a cache counts.
const SMALLEST: ModelConfig = ModelConfig {
    n_vocab: 1,
    n_embd: 1,
    n_layer: 1,
    n_ff: 1,
    n_head: 1,
    n_head_kv: 1,
    head_dim: 1,
    rope_dim: 0,
    rope_base: 1.0,
    rope_pairing: RopePairing::Norm,
    rope_scaling: RopeScaling::None,
    rope_factor: 1.0,
    rope_original_ctx: 1,
    rope_attn_factor: 1.0,
    rope_beta_fast: 1.0,
    rope_beta_slow: 1.0,
    rope_ext_factor: 1.0,
    rms_eps: 1.0,
    tied_output: true,
    qk_norm: false,
};

/// A cache of one layer and one head of one number: `(request, sequence, positions)`. Each position that is appended holds
/// a number of its own.
pub fn run(sizes: &[usize], program: &[Step<'_>]) -> Result<Vec<Answer>, String> {
    let [n_ctx, n_seq_max] = sizes else { unreachable!("checked by the caller") };
    let carve = |region: &mut TensorRegion| {
        KVCachePool::carve(region, &SMALLEST, *n_ctx, *n_seq_max, KVFormat::F32).map_err(|error| error.to_string())
    };
    let mut measured = TensorRegion::measure();
    carve(&mut measured)?;
    let mut memory = Memory::new(measured.used())?;
    let mut pool = carve(&mut memory.region())?;
    let mut n_written = 0;
    let mut answers = Vec::with_capacity(program.len());
    for &(request, seq, number) in program {
        let (seq, n) = (seq as usize, number as usize);
        let answer = match request {
            "open" => said(pool.open()),
            "close" => done(pool.close(seq)),
            "fork" => said(pool.fork(seq)),
            "rewind" => done(pool.rewind(seq, n)),
            "length" => said(pool.len(seq)),
            "append" => done(append(&mut pool, seq, n, &mut n_written).map(|()| pool.commit(seq, n))),
            "abandon" => done(append(&mut pool, seq, n, &mut n_written).map(|()| pool.abandon(seq))),
            _ => return Err(unknown(request)),
        };
        let held = (0..*n_seq_max).filter_map(|seq| pool.len(seq).ok().map(|len| (seq, len)));
        let state: Vec<String> = held.map(|(seq, len)| format!("{seq}: {len} {}", sum(&pool, seq, len))).collect();
        answers.push((answer, format!("{} slabs, {}", pool.n_slab_held(), state.join(", "))));
    }
    Ok(answers)
}

fn append(pool: &mut KVCachePool, seq: usize, n: usize, n_written: &mut u32) -> Result<(), Error> {
    pool.reserve(seq, n)?;
    let start = pool.len(seq)?;
    for pos in start..start + n {
        *n_written += 1;
        let (k, v) = (*n_written as f32, -(*n_written as f32));
        // SAFETY: heads of one number; the position was reserved.
        unsafe { pool.store(portable(), seq, pos, 0, 0, &raw const k, &raw const v, core::ptr::null_mut()) };
    }
    Ok(())
}

/// What a sequence reads back: its keys, each times its position, less its values.
fn sum(pool: &KVCachePool, seq: usize, len: usize) -> i64 {
    let at = |pos: usize| {
        let (keys, values) = pool.tile(seq, pos / TILE_POSITIONS, 0, 0);
        let within = pos % TILE_POSITIONS;
        // SAFETY: the position is in the tile; heads of one number, values at multiples of 16.
        unsafe { (*keys.cast::<f32>().add(within), *values.cast::<f32>().add(within * 16)) }
    };
    (0..len).map(|pos| (pos as i64 + 1) * at(pos).0 as i64 - at(pos).1 as i64).sum()
}
