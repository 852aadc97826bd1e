//! Messages: the frames of a payload of any length, and the payload from its frames.

use super::frame::{BYTES_PAYLOAD_MAX, Header};
use alloc::vec::Vec;

/// The frames of a message. One without payload is one frame too.
pub fn frames(kind: u16, number: u32, payload: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    let n_frame = payload.len().div_ceil(BYTES_PAYLOAD_MAX).max(1);
    (0..n_frame).map(move |i| {
        let part = &payload[i * BYTES_PAYLOAD_MAX..payload.len().min((i + 1) * BYTES_PAYLOAD_MAX)];
        let has_more = i + 1 < n_frame;
        (Header { kind, has_more, number, idx: i as u32, n_byte: part.len() as u32 }, part)
    })
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The message goes on.
    More,
    /// The message is whole: its payload is in [`Inbox::payload`].
    Whole {
        /// What it is.
        kind: u16,
        /// Its number.
        number: u32,
    },
    /// The frame is not the one that follows; what was there of its message is dropped.
    OutOfOrder,
    /// The message is longer than there is room for, and dropped.
    TooLong {
        /// Its number.
        number: u32,
        /// The room, in bytes.
        most: usize,
    },
}

/// Puts messages together, in room that was made before.
pub struct Inbox {
    room: Vec<u8>,
    /// The frame that follows, while a message is under way.
    next: Option<Header>,
    /// Whether the message under way is too long, and passed over.
    is_too_long: bool,
}

impl Inbox {
    /// With room for messages of up to `most` bytes.
    pub fn new(most: usize) -> Inbox {
        Inbox { room: Vec::with_capacity(most), next: None, is_too_long: false }
    }

    /// Makes room for messages of up to `most` bytes, where there is memory for it. This allocates.
    pub fn grow(&mut self, most: usize) -> bool {
        self.room.try_reserve_exact(most.saturating_sub(self.room.len())).is_ok()
    }

    /// Most bytes of a message.
    pub fn most(&self) -> usize {
        self.room.capacity()
    }

    /// The payload of the message that is whole.
    pub fn payload(&self) -> &[u8] {
        &self.room
    }

    /// Takes the next frame.
    pub fn take(&mut self, header: &Header, payload: &[u8]) -> Taken {
        let expected = self.next.take();
        let &Header { kind, number, idx, .. } = header;
        if idx == 0 {
            // Whoever begins anew has given up what came before.
            self.room.clear();
            self.is_too_long = false;
        } else if expected.is_none_or(|next| (next.kind, next.number, next.idx) != (kind, number, idx)) {
            return Taken::OutOfOrder;
        }
        if header.has_more {
            self.next = Some(Header { idx: idx.wrapping_add(1), ..*header });
        }
        if self.is_too_long {
            return Taken::More;
        }
        if payload.len() > self.room.capacity() - self.room.len() {
            self.is_too_long = true;
            return Taken::TooLong { number, most: self.room.capacity() };
        }
        self.room.extend_from_slice(payload);
        if header.has_more {
            return Taken::More;
        }
        Taken::Whole { kind, number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::inputs::Random;
    use alloc::vec;

    #[test]
    fn messages_of_every_length_come_whole() {
        let mut inbox = Inbox::new(4 * BYTES_PAYLOAD_MAX);
        for n in [0, 1, BYTES_PAYLOAD_MAX - 1, BYTES_PAYLOAD_MAX, BYTES_PAYLOAD_MAX + 1, 3 * BYTES_PAYLOAD_MAX] {
            let mut payload = vec![0; n];
            Random(n as u64).bytes(&mut payload);
            let taken: Vec<_> = frames(5, 9, &payload).map(|(header, part)| inbox.take(&header, part)).collect();
            assert_eq!(taken.last(), Some(&Taken::Whole { kind: 5, number: 9 }));
            assert!(taken[..taken.len() - 1].iter().all(|taken| *taken == Taken::More));
            assert_eq!(inbox.payload(), payload);
        }
    }

    #[test]
    fn frames_out_of_order_are_refused() {
        let payload = vec![3; 2 * BYTES_PAYLOAD_MAX + 10];
        let all: Vec<_> = frames(5, 9, &payload).collect();
        let mut inbox = Inbox::new(3 * BYTES_PAYLOAD_MAX);
        let mut take = |i: usize| inbox.take(&all[i].0, all[i].1);
        assert_eq!([take(0), take(2), take(1)], [Taken::More, Taken::OutOfOrder, Taken::OutOfOrder]);
        assert_eq!([take(0), take(0)], [Taken::More, Taken::More]);
        assert_eq!([take(1), take(2)], [Taken::More, Taken::Whole { kind: 5, number: 9 }]);
        let other = Header { number: 10, ..all[1].0 };
        assert_eq!(inbox.take(&all[0].0, all[0].1), Taken::More);
        assert_eq!(inbox.take(&other, all[1].1), Taken::OutOfOrder);
    }

    #[test]
    fn what_is_too_long_is_dropped() {
        let mut inbox = Inbox::new(100);
        let most = inbox.most();
        let payload = vec![1; most + 1];
        let (header, part) = frames(1, 4, &payload).next().unwrap();
        assert_eq!(inbox.take(&header, part), Taken::TooLong { number: 4, most });
        // The rest of it is passed over, and no damage.
        let long = vec![1; 3 * BYTES_PAYLOAD_MAX];
        let taken: Vec<_> = frames(1, 6, &long).map(|(header, part)| inbox.take(&header, part)).collect();
        assert_eq!(taken, [Taken::TooLong { number: 6, most }, Taken::More, Taken::More]);
        let (header, part) = frames(1, 5, &payload[..most]).next().unwrap();
        assert_eq!(inbox.take(&header, part), Taken::Whole { kind: 1, number: 5 });
    }
}
