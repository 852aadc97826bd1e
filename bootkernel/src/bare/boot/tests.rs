use super::*;
use crate::testing::{Bytes, Random};
use std::format;
use std::string::String;
use std::vec::Vec;

const BASE: u64 = 0x9_0000;

fn memory() -> Bytes {
    Bytes { address: BASE, bytes: std::vec![0; 0x2000] }
}

/// start_info with a command line, two ranges of memory and a module.
fn pvh() -> Bytes {
    let mut memory = memory();
    let mut start = Vec::new();
    start.extend(0x336e_c578u32.to_le_bytes());
    start.extend([1u32, 0, 1].map(u32::to_le_bytes).concat());
    start.extend([BASE + 0x200, BASE + 0x300, BASE + 0x1000, BASE + 0x100].map(u64::to_le_bytes).concat());
    start.extend([3u32, 0].map(u32::to_le_bytes).concat());
    memory.write(BASE, &start);
    for (i, (start, bytes, kind)) in
        [(0x1000u64, 0x9_f000u64, 1u32), (0, 0, 0), (0xa_0000, 0x6_0000, 2)].into_iter().enumerate()
    {
        let at = BASE + 0x100 + 24 * i as u64;
        memory.write(at, &[start.to_le_bytes(), bytes.to_le_bytes()].concat());
        memory.write(at + 16, &kind.to_le_bytes());
    }
    memory.write(BASE + 0x200, &[0x10_0000u64, 0x4000].map(u64::to_le_bytes).concat());
    memory.write(BASE + 0x300, b"cores=2 prompt=\"a b\"\0");
    memory
}

fn multiboot2() -> Bytes {
    let mut tags = Vec::new();
    let mut tag = |kind: u32, content: &[u8]| {
        tags.extend(kind.to_le_bytes());
        tags.extend((8 + content.len() as u32).to_le_bytes());
        tags.extend(content);
        tags.resize(tags.len().next_multiple_of(8), 0xee);
    };
    tag(1, b"cores=2 \"prompt=a b\"\0");
    tag(3, &[&[0x10_0000u32, 0x10_4000].map(u32::to_le_bytes).concat()[..], b"model\0"].concat());
    let entry = |start: u64, bytes: u64, kind: u32| {
        [&start.to_le_bytes()[..], &bytes.to_le_bytes(), &kind.to_le_bytes(), &[0; 4]].concat()
    };
    let entries = [entry(0x1000, 0x9_f000, 1), entry(0xa_0000, 0x6_0000, 2)].concat();
    tag(6, &[&[24u32, 0].map(u32::to_le_bytes).concat()[..], &entries].concat());
    tag(14, b"RSD PTR old!abcdefgh");
    tag(15, b"RSD PTR new!abcdefghijklmnopqrstuvwx");
    tag(14, b"RSD PTR old!abcdefgh");
    tag(99, b"?");
    tag(0, b"");
    let mut memory = memory();
    memory.write(BASE, &(tags.len() as u32 + 8).to_le_bytes());
    memory.write(BASE + 8, &tags);
    memory
}

fn words(info: &BootInfo) -> Vec<String> {
    info.command_line.words().map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
}

#[test]
fn both_loaders_say_the_same() {
    for (magic, memory) in [(pvh::MAGIC, pvh()), (multiboot2::MAGIC, multiboot2())] {
        let info = BootInfo::read(magic, BASE, &memory).unwrap();
        assert_eq!(words(&info), ["cores=2", "prompt=a b"]);
        assert_eq!(info.command_line.value("prompt"), Some(&b"a b"[..]));
        assert_eq!(info.command_line.value("prom"), None);
        assert_eq!(info.modules(), [Range { start: 0x10_0000, end: 0x10_4000 }]);
        assert_eq!(info.memory.bytes_usable(), 0x9_f000);
    }
    let new = BootInfo::read(multiboot2::MAGIC, BASE, &multiboot2()).unwrap().rsdp;
    assert_eq!(new, Some(Rsdp::Copy(*b"RSD PTR new!abcdefghijklmnopqrstuvwx")));
}

#[test]
fn another_loader_is_named() {
    let error = BootInfo::read(0x2bad_b002, BASE, &memory()).err().unwrap();
    assert!(format!("{error}").starts_with("loaded with magic 0x2badb002, expected 0x336ec578"), "{error}");
}

#[test]
fn tables_cut_off_or_damaged_are_errors() {
    for (magic, whole) in [(pvh::MAGIC, pvh()), (multiboot2::MAGIC, multiboot2())] {
        for n in 0..whole.bytes.len() {
            let cut = Bytes { address: BASE, bytes: whole.bytes[..n].to_vec() };
            let result = BootInfo::read(magic, BASE, &cut);
            assert!(result.is_ok() || matches!(result, Err(BootError::Table { .. })), "cut to {n}");
        }
        let mut random = Random(1);
        for _ in 0..20_000 {
            let mut damaged = Bytes { address: BASE, bytes: whole.bytes.clone() };
            for _ in 0..1 + random.below(4) {
                let at = random.below(0x400) as usize;
                damaged.bytes[at] = random.next() as u8;
            }
            // Whatever it says: no panic, and nothing read outside of memory.
            let _ = BootInfo::read(magic, BASE, &damaged);
        }
    }
}

#[test]
fn words_of_a_command_line() {
    let cases: [(&str, &[&str]); 9] = [
        ("", &[]),
        ("  a  b ", &["a", "b"]),
        ("a\tb\nc d", &["a\tb\nc", "d"]),
        ("\"a b\"c d", &["a bc", "d"]),
        ("x=\"\"", &["x="]),
        ("\"\" y", &["", "y"]),
        (r#"a\ b "c\"d""#, &["a b", "c\"d"]),
        ("\"open", &["open"]),
        ("test=1 test=2", &["test=1", "test=2"]),
    ];
    for (line, expected) in cases {
        let mut parsed = CommandLine::new();
        parsed.copy_from(line.as_bytes()).unwrap();
        assert_eq!(
            parsed.words().collect::<Vec<_>>(),
            expected.iter().map(|w| w.as_bytes()).collect::<Vec<_>>(),
            "{line}"
        );
    }
    let mut parsed = CommandLine::new();
    parsed.copy_from(b"test=1 test=2").unwrap();
    assert_eq!(parsed.value("test"), Some(&b"2"[..]));
    let long = std::vec![b'a'; LONGEST_COMMAND_LINE + 1];
    assert!(matches!(parsed.copy_from(&long), Err(BootError::TooMany { .. })));
}

/// The longest run, found by asking of every page.
fn obvious_run(usable: &[Range], reserved: &[Range], floor: u64) -> u64 {
    let free = |page: u64| {
        let (start, end) = (page * 16, page * 16 + 16);
        let covered = (start..end).all(|at| usable.iter().any(|range| (range.start..range.end).contains(&at)));
        start >= floor
            && covered
            && reserved.iter().all(|range| range.end <= start || range.start >= end || range.bytes() == 0)
    };
    let (mut best, mut run) = (0, 0);
    for page in 0..60 {
        run = if free(page) { run + 16 } else { 0 };
        best = best.max(run);
    }
    best
}

#[test]
fn the_longest_run_of_any_map() {
    let mut random = Random(2);
    for round in 0..3000 {
        let mut map = MemoryMap::new();
        let (mut usable, mut reserved) = (Vec::new(), Vec::new());
        for _ in 0..random.below(6) {
            let range = Range::sized(random.below(600), random.below(300)).unwrap();
            let is_usable = random.below(3) > 0;
            map.add(range.start, range.bytes(), is_usable).unwrap();
            if is_usable { usable.push(range) } else { reserved.push(range) }
        }
        let floor = random.below(64);
        let run = map.longest_run(16, floor);
        assert_eq!(
            run.bytes(),
            obvious_run(&usable, &reserved, floor),
            "round {round}: {usable:?} {reserved:?} {floor}"
        );
        if run.bytes() > 0 {
            assert!(run.start.is_multiple_of(16) && run.start >= floor);
        }
        let hole = map.longest_hole(Range { start: 100, end: 900 });
        let mentioned = |at: u64| usable.iter().chain(&reserved).any(|range| (range.start..range.end).contains(&at));
        assert!((hole.start..hole.end).all(|at| !mentioned(at)), "round {round}");
    }
}

#[test]
fn memory_is_given_out_from_both_ends_until_there_is_none() {
    let mut frames = Frames::new(Range { start: 0x1000, end: 0x9000 });
    assert_eq!(frames.take_low(0x1000, 0x2000), Some(Range { start: 0x2000, end: 0x3000 }));
    assert_eq!(frames.take_high(0x1800, 0x1000), Some(Range { start: 0x7000, end: 0x8800 }));
    assert_eq!(frames.take_high(0x8000, 0x1000), None);
    assert_eq!(frames.take_low(0x4001, 0x1000), None);
    assert_eq!(frames.take_low(u64::MAX, 0x1000), None);
    assert_eq!(frames.take_high(u64::MAX, 0x1000), None);
    assert_eq!(frames.take_low(0x4000, 0x1000), Some(Range { start: 0x3000, end: 0x7000 }));
    assert_eq!(frames.free().bytes(), 0);
}
