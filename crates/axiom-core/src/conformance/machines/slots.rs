//! Programs on the pools whose answers are states alone.

use super::{Answer, Step, done, said, unknown};
use crate::memory::{ActivationPool, TensorRegion, WeightPool};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// The state of every slot, as a text.
pub fn states(pool: &WeightPool) -> String {
    let one = |slot| match pool.state(slot) {
        (state, Some(extent)) => format!("{} {extent}", state.name()),
        (state, None) => state.name().to_string(),
    };
    (0..pool.n_slot()).map(one).collect::<Vec<_>>().join(", ")
}

/// A pool of some slots: `(request, slot, extent)`.
pub fn weight_pool(sizes: &[usize], program: &[Step<'_>]) -> Result<Vec<Answer>, String> {
    let n_slot = sizes[0];
    let pool = WeightPool::carve(&mut TensorRegion::measure(), vec![4096; n_slot]);
    let mut pool = pool.map_err(|error| error.to_string())?;
    let mut answers = Vec::with_capacity(program.len());
    for &(request, slot, extent) in program {
        let (slot, extent) = (slot as usize, extent as usize);
        if slot >= n_slot {
            return Err(format!("no slot {slot}"));
        }
        let answer = match request {
            "start" => done(pool.start(slot, extent)),
            "finish" => done(pool.finish(slot)),
            "fail" => done(pool.fail(slot)),
            "begin" => done(pool.begin(slot)),
            "end" => done(pool.end(slot)),
            "unload" => done(pool.unload(slot)),
            "pin" => done(pool.pin(slot)),
            "slot_of" => pool.slot_of(extent).map_or("none".into(), |slot| slot.to_string()),
            _ => return Err(unknown(request)),
        };
        answers.push((answer, states(&pool)));
    }
    Ok(answers)
}

/// A ring: `(request, position, _)`.
pub fn activation_pool(_: &[usize], program: &[Step<'_>]) -> Result<Vec<Answer>, String> {
    let pool = ActivationPool::carve(&mut TensorRegion::measure(), 1, 16);
    let mut pool = pool.map_err(|error| error.to_string())?;
    let mut answers = Vec::with_capacity(program.len());
    for &(request, position, _) in program {
        let answer = match request {
            "begin" => said(pool.begin(position as usize)),
            "end" => done(pool.end(position as usize)),
            _ => return Err(unknown(request)),
        };
        let live = pool.live();
        answers.push((answer, format!("{} ... {}", live.start, live.end)));
    }
    Ok(answers)
}
