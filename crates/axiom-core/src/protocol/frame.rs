//! Frames: a header with a checksum, up to 64 KiB of payload, and the payload's checksum (`docs/bare-protocol.md`, section 1).
//!
//! A length is believed only under a header whose checksum is right, and a payload only under its own. After damage the
//! receiver looks for the next header, byte by byte.

use crate::checksum::crc32;

/// What a frame begins with.
pub const MAGIC: [u8; 4] = *b"AXBP";

/// Bytes before the payload.
pub const BYTES_HEADER: usize = 24;

/// Bytes after it.
pub const BYTES_TRAILER: usize = 4;

/// Most bytes of a frame.
pub const BYTES_FRAME_MAX: usize = 1 << 16;

/// Most bytes of a payload.
pub const BYTES_PAYLOAD_MAX: usize = BYTES_FRAME_MAX - BYTES_HEADER - BYTES_TRAILER;

/// Flag: the message goes on in the next frame.
const HAS_MORE: u16 = 1;

/// What a frame says before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: u16,
    /// Whether the message goes on in the next frame.
    pub has_more: bool,
    /// Number of the message: a request's own, and that of the request in what answers it.
    pub number: u32,
    /// Place of the frame in its message, from 0.
    pub idx: u32,
    /// Bytes of the payload.
    pub n_byte: u32,
}

impl Header {
    /// As bytes.
    pub fn encode(&self) -> [u8; BYTES_HEADER] {
        let mut bytes = [0; BYTES_HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[6..8].copy_from_slice(&(if self.has_more { HAS_MORE } else { 0 }).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.number.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.idx.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.n_byte.to_le_bytes());
        let sum = crc32(&bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// From bytes; `None` for what is no header.
    pub fn decode(bytes: &[u8; BYTES_HEADER]) -> Option<Header> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let flags = (word(4) >> 16) as u16;
        let header = Header {
            kind: word(4) as u16,
            has_more: flags == HAS_MORE,
            number: word(8),
            idx: word(12),
            n_byte: word(16),
        };
        let is_right = bytes[..4] == MAGIC
            && word(20) == crc32(&bytes[..20])
            && flags <= HAS_MORE
            && header.n_byte as usize <= BYTES_PAYLOAD_MAX;
        is_right.then_some(header)
    }

    /// Writes the frame with its payload, which has as many bytes as the header says; answers how many it wrote.
    ///
    /// # Panics
    ///
    /// If the payload has another length, or `out` has no room.
    pub fn frame(&self, payload: &[u8], out: &mut [u8]) -> usize {
        assert_eq!(payload.len(), self.n_byte as usize);
        let end = BYTES_HEADER + payload.len();
        out[..BYTES_HEADER].copy_from_slice(&self.encode());
        out[BYTES_HEADER..end].copy_from_slice(payload);
        out[end..end + BYTES_TRAILER].copy_from_slice(&crc32(payload).to_le_bytes());
        end + BYTES_TRAILER
    }
}

/// Finds frames in bytes that come in pieces of any length. Its memory is the caller's.
pub struct Receiver<'a> {
    /// What has come and is not yet part of a frame is at `start .. end`.
    room: &'a mut [u8],
    start: usize,
    end: usize,
    /// Whether bytes were passed over since the last frame.
    is_lost: bool,
    n_damage: u64,
}

impl<'a> Receiver<'a> {
    /// With room for one frame at least.
    ///
    /// # Panics
    ///
    /// If it is less than [`BYTES_FRAME_MAX`].
    pub fn new(room: &'a mut [u8]) -> Receiver<'a> {
        assert!(room.len() >= BYTES_FRAME_MAX);
        Receiver { room, start: 0, end: 0, is_lost: false, n_damage: 0 }
    }

    /// Takes as many of `bytes` as there is room for, and says how many. After [`Receiver::pop`] has answered `None` that is at
    /// least one.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        if self.room.len() - self.end < bytes.len() {
            self.room.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let n = bytes.len().min(self.room.len() - self.end);
        self.room[self.end..self.end + n].copy_from_slice(&bytes[..n]);
        self.end += n;
        n
    }

    /// Whether [`Receiver::push`] would take a byte. After [`Receiver::pop`] has answered `None`, it would.
    pub fn has_room(&self) -> bool {
        self.n_pending() < self.room.len()
    }

    /// The next frame that is whole and right.
    pub fn pop(&mut self) -> Option<(Header, &[u8])> {
        loop {
            let have = &self.room[self.start..self.end];
            let n_common = have.iter().zip(&MAGIC).take_while(|(got, expected)| got == expected).count();
            if n_common < MAGIC.len() {
                if n_common == have.len() {
                    return None;
                }
                self.skip(1);
                continue;
            }
            let &head = have.first_chunk::<BYTES_HEADER>()?;
            let Some(header) = Header::decode(&head) else {
                self.skip(1);
                continue;
            };
            let end = BYTES_HEADER + header.n_byte as usize;
            let payload = have.get(BYTES_HEADER..end + BYTES_TRAILER)?;
            let (payload, sum) = payload.split_at(header.n_byte as usize);
            if sum != crc32(payload).to_le_bytes() {
                // If bytes were lost, the next frame begins inside what this one claims.
                self.skip(1);
                continue;
            }
            let first = self.start + BYTES_HEADER;
            self.start += end + BYTES_TRAILER;
            self.is_lost = false;
            return Some((header, &self.room[first..first + header.n_byte as usize]));
        }
    }

    fn skip(&mut self, n: usize) {
        self.start += n;
        if !self.is_lost {
            self.is_lost = true;
            self.n_damage += 1;
        }
    }

    /// Bytes that are not yet part of a frame.
    pub fn n_pending(&self) -> usize {
        self.end - self.start
    }

    /// Gives up waiting for the rest of a frame: what there is of it counts as damage.
    pub fn give_up(&mut self) {
        if self.n_pending() > 0 {
            self.skip(1);
        }
    }

    /// How often bytes were found that are no frame.
    pub fn n_damage(&self) -> u64 {
        self.n_damage
    }
}

#[cfg(test)]
mod tests;
