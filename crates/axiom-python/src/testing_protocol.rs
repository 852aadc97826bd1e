//! `axiom._native.testing.protocol`: the core's side of the line to a bare machine, for comparison with its twin in Python.

use pyo3::prelude::*;

/// Bytes to frames and messages and back, by `axiom_core::protocol`.
#[pymodule]
pub mod protocol {
    use axiom_core::protocol::{BYTES_FRAME_MAX, Inbox, Reader, Receiver, Taken, frames};
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;
    use std::borrow::Cow;

    /// A frame: kind, whether the message goes on, number, place, payload.
    type Frame = (u16, bool, u32, u32, Cow<'static, [u8]>);
    /// What came of one piece: frames, each with what became of it; bytes that are left; damage so far.
    type Come = (Vec<(Frame, String)>, usize, u64);

    /// Gives the pieces of a line to a receiver, and its frames to an inbox with room for `bytes_message`. None in place of a
    /// piece gives up waiting.
    #[pyfunction]
    fn receive(pieces: Vec<Option<Vec<u8>>>, bytes_message: usize) -> Vec<Come> {
        let mut room = vec![0; BYTES_FRAME_MAX];
        let (mut receiver, mut inbox) = (Receiver::new(&mut room), Inbox::new(bytes_message));
        let mut take = |piece: Option<Vec<u8>>| {
            let mut came = Vec::new();
            let mut rest = piece.as_deref().unwrap_or_default();
            if piece.is_none() {
                receiver.give_up();
            }
            loop {
                rest = &rest[receiver.push(rest)..];
                while let Some((header, payload)) = receiver.pop() {
                    let said = match inbox.take(&header, payload) {
                        Taken::More => "more".into(),
                        Taken::Whole { kind, number } => format!("whole {kind} {number} {:02x?}", inbox.payload()),
                        Taken::OutOfOrder => "out of order".into(),
                        Taken::TooLong { number, most } => format!("too long {number} {most}"),
                    };
                    let frame = (header.kind, header.has_more, header.number, header.idx, payload.to_vec().into());
                    came.push((frame, said));
                }
                if rest.is_empty() {
                    return (came, receiver.n_pending(), receiver.n_damage());
                }
            }
        };
        pieces.into_iter().map(&mut take).collect()
    }

    /// The frames of a message, as bytes.
    #[pyfunction]
    fn encode<'py>(py: Python<'py>, kind: u16, number: u32, payload: &[u8]) -> Vec<Bound<'py, PyBytes>> {
        let mut out = vec![0; BYTES_FRAME_MAX];
        let mut encode = |(header, part): (axiom_core::protocol::Header, &[u8])| {
            let n = header.frame(part, &mut out);
            PyBytes::new(py, &out[..n])
        };
        frames(kind, number, payload).map(&mut encode).collect()
    }

    /// Reads fields, each `u8`, `u32`, `u64`, `text` or `rest`: their values in words, None for one that is not there.
    #[pyfunction]
    fn read_fields(payload: &[u8], fields: Vec<String>) -> Vec<Option<String>> {
        let mut reader = Reader::new(payload);
        let mut read = |field: &String| match field.as_str() {
            "u8" => reader.u8().ok().map(|value| value.to_string()),
            "u32" => reader.u32().ok().map(|value| value.to_string()),
            "u64" => reader.u64().ok().map(|value| value.to_string()),
            "text" => reader.text().ok().map(Into::into),
            _ => Some(format!("{:02x?}", reader.rest())),
        };
        fields.iter().map(&mut read).collect()
    }
}
