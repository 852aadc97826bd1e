//! Programs on a streamer: layers in any order, over a disk that fails as the program says.

use super::disk::{BLOCK, ScriptedDisk};
use super::slots::states;
use super::{Answer, Step, done, unknown};
use crate::conformance::inputs::Memory;
use crate::memory::{TensorRegion, WeightPool};
use crate::stream::{StreamedExtent, Streamer};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// Where extents lie: extent e, of e + 1 blocks, begins here times e.
const STRIDE: u64 = 1024;
/// What is fetched is asked for in pieces of so many bytes: more than some disks read at a time.
const BYTES_PIECE: usize = 3 * BLOCK;
/// A pinned slot comes before the landing slots, so that these do not begin at 0.
const FIRST_LANDING: usize = 1;

/// A scan of `n_extent` extents: numbers 2, 4, 6, ….
///
/// `("begin", extent, _)`, `("end", landing slot, _)`, `("pump", _, _)`, `("fetch", extent, blocks)`, `("distrust", extent, _)`;
/// `("plan", which, kind)` and `("answer", which, kind)` say what the disk does, later or now.
pub fn run(sizes: &[usize], program: &[Step<'_>]) -> Result<Vec<Answer>, String> {
    let [n_extent, n_landing, n_request_max, blocks_request_max, is_in_order, fetches] = *sizes else {
        unreachable!("checked by the caller")
    };
    let order: Vec<StreamedExtent> = (1..=n_extent).map(|i| streamed(2 * i)).collect();
    let most = order.last().map_or(0, |at| at.bytes);
    let carve = |region: &mut TensorRegion| {
        WeightPool::carve(region, vec![most; FIRST_LANDING + n_landing]).map_err(|error| error.to_string())
    };
    let mut measured = TensorRegion::measure();
    carve(&mut measured)?;
    let mut memory = Memory::new(measured.used())?;
    let mut pool = carve(&mut memory.region())?;
    // The disk is dropped first: it knows addresses in the memory.
    let disk = ScriptedDisk::new(n_request_max, blocks_request_max, is_in_order != 0);
    let slots = FIRST_LANDING..FIRST_LANDING + n_landing;
    let mut streamer = match Streamer::new(order, slots.clone(), &disk, usize::MAX, fetches != 0) {
        Ok(streamer) => streamer,
        Err(error) => return Ok(vec![(error.to_string(), String::new())]),
    };
    let now_us = || disk.now_us();
    let mut fetched = vec![0u8; 64 * BLOCK];
    let mut answers = Vec::with_capacity(program.len());
    for &(request, first, second) in program {
        let number = first as usize;
        let answer = match request {
            "begin" => match streamer.begin(number, &mut pool, &disk, &now_us) {
                Ok((slot, load, is_first)) => {
                    let bytes = streamed(number).bytes;
                    // SAFETY: the slot holds the extent, and nobody writes to it now.
                    let came = unsafe { core::slice::from_raw_parts(pool.room(slot).0, bytes) };
                    let times = format!("{} ... {} us, {} bytes", load.start_us, load.end_us, load.bytes);
                    format!("slot {slot}, {}, {times}, first: {is_first}", fingerprint(came))
                }
                Err(error) => error.to_string(),
            },
            "end" if slots.contains(&number) => done(streamer.end(number, &mut pool, &disk, now_us())),
            "end" => return Err(format!("no landing slot {number}")),
            "pump" => done(streamer.pump(&mut pool, &disk, now_us())),
            "fetch" if second > 64 => return Err(format!("expected at most 64 blocks, got {second}")),
            "fetch" => {
                let base = fetched.as_mut_ptr();
                let bytes = second as usize * BLOCK;
                let pieces = (0..bytes).step_by(BYTES_PIECE).map(|start| {
                    (first * STRIDE + start as u64, base.wrapping_add(start), BYTES_PIECE.min(bytes - start))
                });
                match streamer.fetch(number, pieces, &mut pool, &disk, &now_us) {
                    Ok(()) => fingerprint(&fetched[..bytes]).to_string(),
                    Err(error) => error.to_string(),
                }
            }
            "distrust" => {
                streamer.distrust(number);
                "done".into()
            }
            "plan" => {
                disk.plan(number, second);
                "done".into()
            }
            "answer" => {
                disk.answer(number, second);
                "done".into()
            }
            _ => return Err(unknown(request)),
        };
        let counts = streamer.counts();
        let asked: Vec<String> = disk.pending().iter().map(|(offset, bytes)| format!("{offset}+{bytes}")).collect();
        let counted = [counts.bytes_read, counts.n_request, counts.n_retry, counts.n_stall].map(|n| n.to_string());
        answers.push((answer, format!("{}; {}; {}", states(&pool), counted.join(" "), asked.join(" "))));
    }
    Ok(answers)
}

fn streamed(extent: usize) -> StreamedExtent {
    StreamedExtent { extent, offset: extent as u64 * STRIDE, bytes: (extent + 1) * BLOCK }
}

/// A number that no other bytes are likely to have.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().zip(1u64..).map(|(byte, i)| i * u64::from(*byte)).sum()
}
