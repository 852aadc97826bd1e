use super::*;
use crate::testing::{Random, clock};
use std::collections::VecDeque;
use std::vec::Vec;

/// How a read goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Good,
    Fails,
    NeverEnds,
    /// The device names a slot in which nothing was.
    OtherSlot,
    Nonsense,
}

/// A driver whose reads go as was laid down, in another order than they came in.
struct Script {
    fates: VecDeque<Fate>,
    queued: Vec<(usize, Fate)>,
    shown: Vec<(usize, Fate)>,
    n_reset: usize,
    /// After that many resets it does not come back.
    n_reset_max: usize,
    random: Random,
}

impl Driver for Script {
    fn bytes_sector(&self) -> u32 {
        512
    }

    fn n_sector(&self) -> u64 {
        1 << 20
    }

    fn bytes_request_max(&self) -> usize {
        1 << 16
    }

    fn n_request_max(&self) -> usize {
        4
    }

    unsafe fn submit(&mut self, slot: usize, _: u64, _: *mut u8, _: usize) {
        assert!(self.queued.iter().chain(&self.shown).all(|(other, _)| *other != slot), "slot {slot} is taken");
        let fate = self.fates.pop_front().unwrap_or(Fate::Good);
        self.queued.push((slot, fate));
    }

    fn kick(&mut self) {
        self.shown.append(&mut self.queued);
    }

    fn poll(&mut self) -> Result<Option<Ended>, DeviceError> {
        let ready: Vec<usize> = (0..self.shown.len()).filter(|&i| self.shown[i].1 != Fate::NeverEnds).collect();
        if ready.is_empty() {
            return Ok(None);
        }
        let (slot, fate) = self.shown.remove(ready[self.random.below(ready.len() as u64) as usize]);
        match fate {
            Fate::Good => Ok(Some(Ended { slot, status: 0 })),
            Fate::Fails => Ok(Some(Ended { slot, status: 7 })),
            Fate::OtherSlot => Ok(Some(Ended { slot: 60, status: 0 })),
            _ => Err(DeviceError::Nonsense { what: "an index", got: 99 }),
        }
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        self.n_reset += 1;
        self.queued.clear();
        self.shown.clear();
        if self.n_reset > self.n_reset_max {
            return Err(DeviceError::TimedOut { waiting_for: "reset", after_us: 1 });
        }
        Ok(())
    }
}

fn disk(fates: &[Fate], n_reset_max: usize) -> Disk<Script> {
    patient(fates, n_reset_max, Patience::Reset)
}

fn patient(fates: &[Fate], n_reset_max: usize, patience: Patience) -> Disk<Script> {
    let script = Script {
        fates: fates.iter().copied().collect(),
        queued: Vec::new(),
        shown: Vec::new(),
        n_reset: 0,
        n_reset_max,
        random: Random(5),
    };
    Disk::new(script, clock).with_patience(patience)
}

/// Reads four times, and gives the results by tag.
fn read_four(disk: &mut Disk<Script>) -> Vec<Result<usize, Fault>> {
    for tag in 0..4 {
        // SAFETY: the fake does not write.
        assert!(unsafe { disk.submit(tag, 4096 * tag, 4096 as *mut u8, 4096) });
    }
    // SAFETY: as above.
    assert!(!unsafe { disk.submit(9, 0, 4096 as *mut u8, 4096) }, "a fifth has no slot");
    let mut results = std::vec![None; 4];
    for _ in 0..5000 {
        if let Some((tag, result)) = disk.poll() {
            assert!(results[tag as usize].replace(result).is_none(), "tag {tag} has ended twice");
        }
    }
    results.into_iter().map(|result| result.expect("every read ends")).collect()
}

#[test]
fn a_good_disk_needs_no_help() {
    let mut disk = disk(&[], 0);
    assert_eq!(read_four(&mut disk), [Ok(4096); 4]);
    assert_eq!(disk.n_trouble(), (0, 0));
}

#[test]
fn a_read_that_fails_is_tried_once_more() {
    let mut once = disk(&[Fate::Good, Fate::Fails, Fate::Good, Fate::Fails], 0);
    assert_eq!(read_four(&mut once), [Ok(4096); 4]);
    assert_eq!(once.n_trouble(), (0, 2));
    let mut twice = disk(&[Fate::Good, Fate::Fails, Fate::Good, Fate::Good, Fate::Fails], 0);
    let error = DeviceError::Failed { what: "a read", status: 7 };
    let results = read_four(&mut twice);
    assert_eq!(results[1], Err(Fault { offset: 4096, n_byte: 4096, error }));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
}

#[test]
fn a_device_that_hangs_or_talks_nonsense_is_reset_once() {
    for fate in [Fate::NeverEnds, Fate::OtherSlot, Fate::Nonsense] {
        let mut disk = disk(&[Fate::Good, fate], 1);
        assert_eq!(read_four(&mut disk), [Ok(4096); 4], "{fate:?}");
        assert_eq!(disk.n_trouble().0, 1);
        assert_eq!(disk.driver().n_reset, 1);
    }
}

#[test]
fn a_device_that_hangs_again_fails_every_read_and_is_stopped() {
    // The second hang is of the read that was tried once more.
    let mut disk = disk(&[Fate::NeverEnds, Fate::Good, Fate::Good, Fate::Good, Fate::NeverEnds], 2);
    let results = read_four(&mut disk);
    assert!(matches!(results[0], Err(Fault { error: DeviceError::TimedOut { .. }, .. })), "{results:?}");
    assert_eq!(disk.driver().n_reset, 2, "stopped, so that it writes no more");
    // From then on nothing is asked of it.
    assert!(read_four(&mut disk).iter().all(Result::is_err));
}

#[test]
fn a_device_that_does_not_come_back_from_its_reset() {
    let mut disk = disk(&[Fate::NeverEnds; 4], 0);
    let error = DeviceError::TimedOut { waiting_for: "reset", after_us: 1 };
    assert!(read_four(&mut disk).iter().all(|result| result.is_err_and(|fault| fault.error == error)));
}

#[test]
fn a_virtual_device_that_hangs_is_not_reset() {
    let mut disk = patient(&[Fate::Good, Fate::NeverEnds], 9, Patience::Wait);
    let start = clock();
    let results = read_four(&mut disk);
    let error = DeviceError::TimedOut { waiting_for: "end of a read", after_us: 2 * LIMIT_US };
    assert_eq!(results[1], Err(Fault { offset: 4096, n_byte: 4096, error }));
    assert!(clock() - start > 2 * LIMIT_US);
    assert_eq!((disk.driver().n_reset, disk.n_trouble()), (0, (0, 0)));
    assert!(read_four(&mut disk).iter().all(Result::is_err), "nothing more is asked of it");
}

#[test]
fn any_mixture_ends_every_read_once() {
    let mut random = Random(6);
    for _ in 0..2000 {
        let fates: Vec<Fate> = (0..12)
            .map(|_| match random.below(12) {
                0 => Fate::NeverEnds,
                1 => Fate::OtherSlot,
                2 => Fate::Nonsense,
                3 => Fate::Fails,
                _ => Fate::Good,
            })
            .collect();
        let patience = if random.below(2) == 0 { Patience::Reset } else { Patience::Wait };
        read_four(&mut patient(&fates, random.below(4) as usize, patience));
    }
}
