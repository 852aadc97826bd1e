//! The rows of a pass: tokens of several sequences one after the other, cut into waves, and into the pieces of attention.

use crate::memory::ROWS_PER_WAVE;
use crate::model::{Span, Wave};
use alloc::vec::Vec;

/// The rows of a pass. Room for them is made once.
pub struct PassRows {
    /// A token for each row.
    pub tokens: Vec<u32>,
    /// Rows of one sequence that lie in one wave.
    pub spans: Vec<Span>,
    /// The spans, cut into the pieces that attention takes.
    pub pieces: Vec<Span>,
    /// Up to `ROWS_PER_WAVE` rows each.
    pub waves: Vec<Wave>,
    /// The rows that get logits.
    pub logit_rows: Vec<u32>,
}

impl PassRows {
    /// No rows, and room for `rows_per_pass`.
    pub fn new(rows_per_pass: usize) -> PassRows {
        PassRows {
            tokens: Vec::with_capacity(rows_per_pass),
            spans: Vec::with_capacity(rows_per_pass),
            pieces: Vec::with_capacity(rows_per_pass),
            waves: Vec::with_capacity(rows_per_pass.div_ceil(ROWS_PER_WAVE)),
            logit_rows: Vec::with_capacity(rows_per_pass),
        }
    }

    /// Appends tokens of one sequence, from position `first_pos` on, cut at waves, and into the pieces that attention takes.
    pub fn push(&mut self, seq: usize, first_pos: usize, tokens: &[u32], rows_per_piece: usize) {
        let mut done = 0;
        while done < tokens.len() {
            let first_row = self.tokens.len();
            if first_row.is_multiple_of(ROWS_PER_WAVE) {
                self.waves.push(Wave { first_row, n_row: 0, first_piece: self.pieces.len(), n_piece: 0 });
            }
            let wave = self.waves.last_mut().expect("pushed with the first row");
            let n_row = (tokens.len() - done).min(ROWS_PER_WAVE - wave.n_row);
            let span = Span { seq, first_row, n_row, first_pos: first_pos + done };
            self.spans.push(span);
            for start in (0..n_row).step_by(rows_per_piece) {
                self.pieces.push(Span {
                    first_row: first_row + start,
                    n_row: rows_per_piece.min(n_row - start),
                    first_pos: span.first_pos + start,
                    ..span
                });
            }
            wave.n_row += n_row;
            wave.n_piece = self.pieces.len() - wave.first_piece;
            self.tokens.extend_from_slice(&tokens[done..done + n_row]);
            done += n_row;
        }
    }

    /// Forgets the rows.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.spans.clear();
        self.pieces.clear();
        self.waves.clear();
        self.logit_rows.clear();
    }
}
