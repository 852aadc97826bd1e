use super::*;
use crate::testing::{Random, clock, stop};
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
    /// It looks for what has ended only once in so many times that it is asked, and ends one read then.
    n_ask: u64,
    n_asked: u64,
}

impl Driver for Script {
    fn bytes_sector(&self) -> u32 {
        512
    }

    fn n_sector(&self) -> u64 {
        1 << 20
    }

    fn bytes_request_max(&self) -> usize {
        2 << 20
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
        self.n_asked += 1;
        if !self.n_asked.is_multiple_of(self.n_ask) {
            return Ok(None);
        }
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
        n_ask: 1,
        n_asked: 0,
    };
    Disk::new(script, clock).with_patience(patience)
}

/// A disk that ends one read each time that it was asked `n_ask` times, which is as many milliseconds.
fn slow(fates: &[Fate], n_ask: u64, patience: Patience) -> Disk<Script> {
    let mut disk = patient(fates, 0, patience);
    disk.driver.n_ask = n_ask;
    disk
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
fn a_slow_disk_that_goes_on_answering_is_not_stuck() {
    for (patience, n_ask) in [(Patience::Reset, 600), (Patience::Wait, 1200)] {
        let mut disk = slow(&[], n_ask, patience);
        let start = clock();
        // The fourth waits for three others.
        assert_eq!(read_four(&mut disk), [Ok(4096); 4], "{patience:?}");
        assert!(clock() - start > 3 * 1000 * n_ask);
        assert_eq!(disk.n_trouble(), (0, 0));
    }
}

#[test]
fn a_disk_that_was_asked_for_much_may_be_silent_for_longer() {
    let mut disk = slow(&[], 1900, Patience::Wait);
    for tag in 0..3 {
        // SAFETY: the fake does not write.
        assert!(unsafe { disk.submit(tag, 0, 4096 as *mut u8, 2 << 20) });
    }
    // Of 6 MiB nothing is heard for 1.9 s, and of 4 MiB as little is too little.
    assert!(matches!((0..1950).find_map(|_| disk.poll()), Some((_, Ok(_)))));
    let limit_us = 2 * LIMIT_US + 4 * LIMIT_MIB_US;
    let error = DeviceError::TimedOut { waiting_for: "end of a read", after_us: limit_us };
    assert!(matches!((0..1890).find_map(|_| disk.poll()), Some((_, Err(fault))) if fault.error == error));
}

#[test]
fn a_disk_whose_first_read_comes_late_after_a_rest_is_not_stuck() {
    let mut disk = slow(&[], 500, Patience::Reset);
    for _ in 0..3 {
        // SAFETY: the fake does not write.
        assert!(unsafe { disk.submit(0, 0, 4096 as *mut u8, 4096) });
        let end = (0..600).find_map(|_| disk.poll());
        assert_eq!(end, Some((0, Ok(4096))));
        // Nothing is under way, and nothing is waited for.
        assert!((0..400).all(|_| disk.poll().is_none()));
        (0..2000).for_each(|_| _ = clock());
    }
    assert_eq!(disk.n_trouble(), (0, 0));
}

#[test]
fn a_machine_that_was_stopped_has_not_waited() {
    for n_before in [1, 50, 99] {
        let mut disk = slow(&[], 100, Patience::Wait);
        // SAFETY: the fake does not write.
        assert!(unsafe { disk.submit(7, 0, 4096 as *mut u8, 4096) });
        assert!((0..n_before).all(|_| disk.poll().is_none()));
        stop(3_000_000);
        let end = (0..200).find_map(|_| disk.poll());
        assert_eq!(end, Some((7, Ok(4096))), "stopped after {n_before}");
    }
}

#[test]
fn a_read_that_is_passed_over_for_ever_is_found() {
    let mut disk = slow(&[Fate::NeverEnds], 10, Patience::Wait);
    let read = |disk: &mut Disk<Script>, tag| {
        // SAFETY: the fake does not write.
        unsafe { disk.submit(tag, 4096 * tag, 4096 as *mut u8, 4096) };
    };
    (0..4).for_each(|tag| read(&mut disk, tag));
    let mut n_ended = 0;
    let error = loop {
        match (0..100).find_map(|_| disk.poll()).expect("the others go on ending") {
            (tag, Ok(_)) => read(&mut disk, tag),
            (_, Err(fault)) => break fault.error,
        }
        n_ended += 1;
        assert!(n_ended < 1000, "never found");
    };
    assert!(n_ended > N_PASSED_OVER, "{n_ended}");
    assert!(matches!(error, DeviceError::TimedOut { .. }));
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
