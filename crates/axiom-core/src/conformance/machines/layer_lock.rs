//! Programs on a lock.

use super::{Answer, Step, done, unknown};
use crate::schedule::LayerLock;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A lock: `(request, layer, time)`.
pub fn run(_: &[usize], program: &[Step<'_>]) -> Result<Vec<Answer>, String> {
    let lock = LayerLock::new();
    let mut answers = Vec::with_capacity(program.len());
    for &(request, number, now_us) in program {
        let layer = number as usize;
        let answer = match request {
            "acquire" => done(lock.acquire(layer)),
            "release" => done(lock.release(layer)),
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
            _ => return Err(unknown(request)),
        };
        let held = lock.held().map_or("none".into(), |layer| layer.to_string());
        answers.push((answer, format!("{held} {} {}", lock.n_deferred(), lock.longest_deferral_us())));
    }
    Ok(answers)
}
