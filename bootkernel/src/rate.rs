//! How fast the image's disk is read: what streaming is to be compared with.

use crate::exit::{Status, fail};
use crate::storage::{Source, room};
use crate::{clock, line};

/// Reads all of the image twice, one piece after the other with as many under way as streaming has, and prints how fast
/// that was.
pub fn measure(source: &Source) {
    const N_ROUND: usize = 2;
    let device = &*source.device;
    let n_byte = device.bytes_request_max().min(1 << 20);
    let n_slot = device.n_request_max().min(8);
    let buffer = room(n_byte * n_slot);
    // Whole pieces: the rest of the image is not worth a number.
    let n_read = source.bytes / n_byte as u64;
    let name = &source.name;
    for _ in 0..N_ROUND {
        let start_us = clock::now_us();
        let (mut next, mut done) = (0, 0);
        let mut submit = |slot: usize, next: &mut u64| {
            let to = buffer[slot * n_byte..][..n_byte].as_mut_ptr();
            // SAFETY: the slot's bytes are lent to no other read, and the buffer is for good.
            let is_taken = *next < n_read && unsafe { device.submit(slot as u32, *next * n_byte as u64, to, n_byte) };
            *next += u64::from(is_taken);
        };
        (0..n_slot).for_each(|slot| submit(slot, &mut next));
        while done < n_read {
            let Some(completion) = device.poll() else {
                device.wait();
                continue;
            };
            match completion.result {
                Ok(n) if n == n_byte => {}
                Ok(n) => fail(Status::Device, format_args!("{name}: a read of {n_byte} bytes gave {n}")),
                Err(fault) => fail(Status::Device, format_args!("{name}: {fault}")),
            }
            done += 1;
            submit(completion.tag as usize, &mut next);
        }
        let us = (clock::now_us() - start_us).max(1);
        line!(
            "axiom: {name}: {n_read} reads of {n_byte} bytes, {n_slot} under way: {us} us, {} MB/s",
            n_read * n_byte as u64 / us
        );
    }
}
