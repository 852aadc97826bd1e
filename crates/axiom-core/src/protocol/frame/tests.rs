//! Frames that come whole, in pieces, damaged, and bytes that never were frames.

use super::*;
use crate::conformance::inputs::Random;
use alloc::vec;
use alloc::vec::Vec;

fn random_frame(random: &mut Random) -> (Header, Vec<u8>) {
    let n = match random.below(8) {
        0 => 0,
        1 => BYTES_PAYLOAD_MAX,
        2 => random.below(BYTES_PAYLOAD_MAX),
        _ => random.below(100),
    };
    let mut payload = vec![0; n];
    random.bytes(&mut payload);
    // Payloads that look like what they are not.
    if n >= MAGIC.len() && random.below(2) == 0 {
        let at = random.below(n - MAGIC.len() + 1);
        payload[at..at + MAGIC.len()].copy_from_slice(&MAGIC);
    }
    let header = Header {
        kind: random.next() as u16,
        has_more: random.below(2) == 0,
        number: random.next() as u32,
        idx: random.next() as u32,
        n_byte: n as u32,
    };
    (header, payload)
}

fn bytes_of(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; BYTES_FRAME_MAX];
    let n = header.frame(payload, &mut out);
    out.truncate(n);
    out
}

/// All frames in `bytes`, which come in pieces of random lengths.
fn received(bytes: &[u8], random: &mut Random) -> (Vec<(Header, Vec<u8>)>, u64) {
    let mut room = vec![0; BYTES_FRAME_MAX + random.below(5000)];
    let mut receiver = Receiver::new(&mut room);
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let longest = if random.below(4) == 0 { 100_000 } else { 300 };
        let n = rest.len().min(1 + random.below(longest));
        let mut piece = &rest[..n];
        while !piece.is_empty() {
            let taken = receiver.push(piece);
            assert!(taken > 0, "the receiver is stuck");
            piece = &piece[taken..];
            while let Some((header, payload)) = receiver.pop() {
                frames.push((header, payload.to_vec()));
            }
        }
        rest = &rest[n..];
    }
    // A frame that has lost bytes waits for them, with what came after it.
    while receiver.n_pending() > 0 {
        receiver.give_up();
        while let Some((header, payload)) = receiver.pop() {
            frames.push((header, payload.to_vec()));
        }
    }
    (frames, receiver.n_damage())
}

#[test]
fn frames_come_as_they_were_sent_however_they_are_cut() {
    let mut random = Random(1);
    for _ in 0..300 {
        let sent: Vec<_> = (0..random.below(6)).map(|_| random_frame(&mut random)).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|(header, payload)| bytes_of(header, payload)).collect();
        assert_eq!(received(&bytes, &mut random), (sent, 0));
    }
}

#[test]
fn a_damaged_frame_is_refused_and_the_others_come() {
    let mut random = Random(2);
    for round in 0..600 {
        let sent: Vec<_> = (0..5).map(|_| random_frame(&mut random)).collect();
        let mut pieces: Vec<Vec<u8>> = sent.iter().map(|(header, payload)| bytes_of(header, payload)).collect();
        let wounded = random.below(4);
        let piece = &mut pieces[wounded];
        let at = random.below(piece.len());
        match round % 3 {
            // A bit that turns, bytes that are lost, bytes that come from nowhere.
            0 => piece[at] ^= 1 << random.below(8),
            1 => {
                let end = (at + 1 + random.below(40)).min(piece.len());
                piece.drain(at..end);
            }
            _ => {
                let mut noise = vec![0; 1 + random.below(40)];
                random.bytes(&mut noise);
                // What comes between two frames harms neither.
                let at = at.max(1);
                piece.splice(at..at, noise);
            }
        }
        let (got, n_damage) = received(&pieces.concat(), &mut random);
        let expected: Vec<_> = sent.iter().enumerate().filter(|(i, _)| *i != wounded).map(|(_, f)| f.clone()).collect();
        assert_eq!(got, expected, "round {round}");
        assert!(n_damage >= 1);
    }
}

#[test]
fn any_bytes_are_survived() {
    let mut random = Random(3);
    for _ in 0..2000 {
        let mut bytes = vec![0; random.below(4000)];
        random.bytes(&mut bytes);
        // Headers in the noise, with any length, some of them with a checksum that is right.
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len().max(BYTES_HEADER + 1) - BYTES_HEADER);
            let Some(room) = bytes.get_mut(at..at + BYTES_HEADER) else { continue };
            room[..4].copy_from_slice(&MAGIC);
            if random.below(2) == 0 {
                let sum = crc32(&room[..20]);
                room[20..].copy_from_slice(&sum.to_le_bytes());
            }
        }
        let (header, payload) = random_frame(&mut random);
        bytes.extend(bytes_of(&header, &payload));
        assert_eq!(received(&bytes, &mut random).0, [(header, payload)]);
    }
}

#[test]
fn the_rest_of_a_frame_is_not_waited_for_for_ever() {
    let mut random = Random(4);
    let payload = vec![7; 1000];
    let header = Header { n_byte: 1000, ..random_frame(&mut random).0 };
    let cut_off = &bytes_of(&header, &payload)[..500];
    let mut room = vec![0; BYTES_FRAME_MAX];
    let mut receiver = Receiver::new(&mut room);
    assert_eq!(receiver.push(cut_off), 500);
    assert_eq!(receiver.pop(), None);
    assert_eq!(receiver.n_pending(), 500);
    receiver.give_up();
    assert_eq!(receiver.pop(), None);
    assert_eq!((receiver.n_pending(), receiver.n_damage()), (0, 1));
    let whole = bytes_of(&header, &payload);
    assert_eq!(receiver.push(&whole), whole.len());
    assert_eq!(receiver.pop(), Some((header, &payload[..])));
}

#[test]
fn headers_that_cannot_be() {
    let header = Header { kind: 3, has_more: true, number: 7, idx: 2, n_byte: 5 };
    assert_eq!(Header::decode(&header.encode()), Some(header));
    let with = |change: fn(&mut [u8; BYTES_HEADER])| {
        let mut bytes = header.encode();
        change(&mut bytes);
        let sum = crc32(&bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        Header::decode(&bytes)
    };
    assert_eq!(with(|_| ()), Some(header));
    assert_eq!(with(|bytes| bytes[0] ^= 1), None, "another magic");
    assert_eq!(with(|bytes| bytes[6] = 2), None, "an unknown flag");
    assert_eq!(with(|bytes| bytes[18] = 1), None, "too long");
}
