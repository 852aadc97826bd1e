//! The disk: what is read is what the file holds, whatever the order; faults are completions; closing waits for readers.

use axiom_core::memory::{TensorRegion, WeightPool};
use axiom_core::platform::BlockDevice;
use axiom_core::stream::{StreamedExtent, Streamer};
use axiom_host::disk::{ALIGN, Disk};
use axiom_host::{Region, region::HUGE_PAGE};
use std::path::PathBuf;

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("axiom-disk-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn content(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 4096 * 7) as u8).collect()
}

#[test]
fn requests_read_what_the_file_holds() {
    let bytes = content(100 * ALIGN);
    let path = file("whole", &bytes);
    let disk = Disk::open(&path).unwrap();
    let mut region = Region::new(bytes.len()).unwrap();
    for i in 0..25 {
        let at = i * 4 * ALIGN;
        // SAFETY: the room is in the region, each request has its own, and the region outlives the disk's answers below.
        assert!(unsafe { disk.submit(i as u32, at as u64, region.as_ptr().as_ptr().add(at), 4 * ALIGN) });
    }
    let mut tags = Vec::new();
    while tags.len() < 25 {
        match disk.poll() {
            Some(done) => {
                assert_eq!(done.result, Ok(4 * ALIGN));
                tags.push(done.tag);
            }
            None => disk.wait(),
        }
    }
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..25));
    assert!(region.as_mut_slice() == bytes);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_end_of_a_file_is_a_short_read() {
    let path = file("short", &content(ALIGN + 100));
    let disk = Disk::open(&path).unwrap();
    let region = Region::new(HUGE_PAGE).unwrap();
    for (offset, expected) in [(0, ALIGN + 100), (ALIGN, 100), (2 * ALIGN, 0)] {
        // SAFETY: as above.
        assert!(unsafe { disk.submit(1, offset as u64, region.as_ptr().as_ptr(), 4 * ALIGN) });
        let done = loop {
            match disk.poll() {
                Some(done) => break done,
                None => disk.wait(),
            }
        };
        assert_eq!(done.result, Ok(expected));
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn more_requests_than_it_takes_are_refused_and_closing_waits_for_all() {
    let path = file("many", &content(ALIGN));
    let region = Region::new(HUGE_PAGE).unwrap();
    let disk = Disk::open(&path).unwrap();
    for i in 0..disk.n_request_max() {
        // SAFETY: as above; nobody looks at what is read.
        assert!(unsafe { disk.submit(i as u32, 0, region.as_ptr().as_ptr(), ALIGN) });
    }
    // SAFETY: as above.
    assert!(!unsafe { disk.submit(9, 0, region.as_ptr().as_ptr(), ALIGN) });
    drop(disk);
    drop(region);
    std::fs::remove_file(path).unwrap();
    assert!(Disk::open(&std::env::temp_dir().join("axiom-no-such-file")).is_err());
}

#[test]
fn a_scan_streams_every_extent_in_turn() {
    let (n, bytes) = (7, 5 * ALIGN);
    let data = content(n * bytes);
    let path = file("scan", &data);
    let disk = Disk::open(&path).unwrap();
    let reserved = Region::new(3 * bytes).unwrap();
    // SAFETY: the region is this pool's alone, and outlives it.
    let mut region = unsafe { TensorRegion::new(reserved.as_ptr(), 3 * bytes) };
    let mut pool = WeightPool::carve(&mut region, [bytes; 3]).unwrap();
    let order = (0..n).map(|i| StreamedExtent { extent: i, offset: (i * bytes) as u64, bytes }).collect();
    let mut streamer = Streamer::new(order, 0..3, &disk, 2 * ALIGN, false).unwrap();
    for pass in 0..4 {
        for extent in 0..n {
            let (slot, load, is_first) = streamer.begin(extent, &mut pool, &disk, &|| 5).unwrap();
            assert_eq!((load.bytes, is_first), (bytes as u64, pass == 0));
            let (base, _) = pool.room(slot);
            // SAFETY: the slot is Computing: nobody writes to it.
            let got = unsafe { std::slice::from_raw_parts(base, bytes) };
            assert!(got == &data[extent * bytes..(extent + 1) * bytes], "pass {pass}, extent {extent}");
            streamer.end(slot, &mut pool, &disk, 6).unwrap();
        }
    }
    // What was read ahead of a fifth pass is all that is more than four times the file.
    drop(disk);
    let read = streamer.counts().bytes_read as usize;
    assert!((4 * n * bytes..=(4 * n + 3) * bytes).contains(&read), "{read} bytes");
    std::fs::remove_file(path).unwrap();
}
