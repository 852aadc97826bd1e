//! `axiom._native.testing.machines`: the core's state machines, driven by programs, for comparison with their twins.
//!
//! A program is a list of `(request, number, number)`. Each request is answered in words, an error in its own; what comes back
//! is every answer, and the state after it.

use pyo3::prelude::*;

/// One function for each machine.
#[pymodule]
pub mod machines {
    use axiom_core::error::Error;
    use axiom_core::memory::{ActivationPool, TensorRegion, WeightPool};
    use axiom_core::schedule::LayerLock;
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;

    type Program = Vec<(String, u64, u64)>;
    type Answers = Vec<(String, String)>;

    fn unknown(request: &str) -> PyErr {
        PyValueError::new_err(format!("no request {request:?}"))
    }

    fn said(result: Result<(), Error>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "done".into())
    }

    /// Runs a program on a pool of `n_slot` slots.
    #[pyfunction]
    fn weight_pool(n_slot: usize, program: Program) -> PyResult<Answers> {
        let pool = WeightPool::carve(&mut TensorRegion::measure(), vec![4096; n_slot]);
        let mut pool = pool.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut answers = Vec::with_capacity(program.len());
        for (request, slot, extent) in program {
            let (slot, extent) = (slot as usize, extent as usize);
            if slot >= n_slot {
                return Err(PyValueError::new_err(format!("no slot {slot}")));
            }
            let answer = match &*request {
                "start" => said(pool.start(slot, extent)),
                "finish" => said(pool.finish(slot)),
                "fail" => said(pool.fail(slot)),
                "begin" => said(pool.begin(slot)),
                "end" => said(pool.end(slot)),
                "unload" => said(pool.unload(slot)),
                "pin" => said(pool.pin(slot)),
                "slot_of" => pool.slot_of(extent).map_or("none".into(), |slot| slot.to_string()),
                _ => return Err(unknown(&request)),
            };
            let states = (0..n_slot).map(|slot| match pool.state(slot) {
                (state, Some(extent)) => format!("{} {extent}", state.name()),
                (state, None) => state.name().to_string(),
            });
            answers.push((answer, states.collect::<Vec<_>>().join(", ")));
        }
        Ok(answers)
    }

    /// Runs a program on a ring.
    #[pyfunction]
    fn activation_pool(program: Program) -> PyResult<Answers> {
        let pool = ActivationPool::carve(&mut TensorRegion::measure(), 1, 16);
        let mut pool = pool.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut answers = Vec::with_capacity(program.len());
        for (request, position, _) in program {
            let position = position as usize;
            let answer = match &*request {
                "begin" => pool.begin(position).map_or_else(|error| error.to_string(), |slot| slot.to_string()),
                "end" => said(pool.end(position)),
                _ => return Err(unknown(&request)),
            };
            let live = pool.live();
            answers.push((answer, format!("{} ... {}", live.start, live.end)));
        }
        Ok(answers)
    }

    /// Runs a program on a lock; the second number is the time.
    #[pyfunction]
    fn layer_lock(program: Program) -> PyResult<Answers> {
        let lock = LayerLock::new();
        let mut answers = Vec::with_capacity(program.len());
        for (request, number, now_us) in program {
            let layer = number as usize;
            let answer = match &*request {
                "acquire" => said(lock.acquire(layer, now_us)),
                "release" => said(lock.release(layer)),
                "abandon" => {
                    lock.abandon();
                    "done".into()
                }
                "tick" => {
                    lock.tick(now_us);
                    "done".into()
                }
                "yield" => {
                    let served = lock.yield_at_layer_boundary(now_us);
                    format!("{} {} {}", served.n_tick, served.n_deferred, served.waited_us)
                }
                "stuck" => {
                    lock.stuck(now_us, number).map_or("none".into(), |(layer, held_us)| format!("{layer} {held_us}"))
                }
                _ => return Err(unknown(&request)),
            };
            let held = lock.held().map_or("none".into(), |layer| layer.to_string());
            answers.push((answer, format!("{held} {} {}", lock.n_deferred(), lock.longest_deferral_us())));
        }
        Ok(answers)
    }
}
