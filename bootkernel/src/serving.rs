//! The engine of a machine that serves, and its answers. A pass allocates nothing; it is counted.

use crate::heap;
use crate::passes::Passes;
use crate::refusal::Refusal;
use crate::wire::{Message, Port};
use alloc::vec::Vec;
use axiom_core::error::Error;
use axiom_core::protocol::{Reader, kind};
use axiom_core::runtime::{Append, Engine, Options};
use core::cell::RefCell;

/// Most sequences and most tokens of one request.
const N_APPEND_MAX: usize = 64;
const N_TOKEN_MAX: usize = 1 << 15;

/// While a pass runs, the program outside hears from it this often.
const QUIET_US: u64 = 1_000_000;

/// An open model.
pub struct Serving {
    engine: Engine,
    options: Options,
    passes: Passes,
    /// Room for the rows of a request.
    logits: Vec<f32>,
    tokens: Vec<u32>,
    n_allocation_in_passes: u64,
}

impl Serving {
    /// Over an engine, with room for logits.
    pub fn new(engine: Engine, options: Options, logits: Vec<f32>) -> Serving {
        let tokens = Vec::with_capacity(N_TOKEN_MAX);
        Serving { engine, options, passes: Passes::default(), logits, tokens, n_allocation_in_passes: 0 }
    }

    /// Bytes of the longest state that a sequence can have.
    pub fn bytes_saved_max(&self) -> usize {
        let config = self.engine.config();
        let bytes_position = 2 * config.n_layer * config.n_head_kv * config.head_dim * self.options.kv.bytes();
        self.options.n_ctx.saturating_mul(bytes_position).saturating_add(4096)
    }

    /// Allocations while passes ran: none, or it is a defect.
    pub fn n_allocation_in_passes(&self) -> u64 {
        self.n_allocation_in_passes
    }

    /// Answers a request that needs an engine.
    ///
    /// # Errors
    ///
    /// What is to be said instead.
    pub fn answer(&mut self, kind: u16, number: u32, request: &mut Reader<'_>, port: &mut Port) -> Result<(), Refusal> {
        let answer_number = |port: &mut Port, value: usize| {
            let mut message = port.answer(kind, number);
            message.u64(value as u64);
            message.end();
        };
        let sequences = self.engine.sequences();
        match kind {
            kind::FORWARD => return self.forward(number, request, port),
            kind::SEQ_NEW => {
                request.end()?;
                answer_number(port, sequences.open()?);
            }
            kind::SEQ_FREE => {
                let seq = request.count()?;
                request.end()?;
                sequences.close(seq)?;
                port.answer(kind, number).end();
            }
            kind::SEQ_FORK => {
                let seq = request.count()?;
                request.end()?;
                answer_number(port, sequences.fork(seq)?);
            }
            kind::SEQ_LEN => {
                let seq = request.count()?;
                request.end()?;
                answer_number(port, sequences.len(seq)?);
            }
            kind::SEQ_REWIND => {
                let (seq, n_pos) = (request.count()?, request.count()?);
                request.end()?;
                sequences.rewind(seq, n_pos)?;
                port.answer(kind, number).end();
            }
            kind::SEQ_SAVE => {
                let seq = request.count()?;
                request.end()?;
                return self.save(seq, number, port);
            }
            kind::SEQ_LOAD => {
                let n_byte = request.count()?;
                let state = request.rest();
                if state.len() != n_byte {
                    return Err(Refusal::Malformed);
                }
                answer_number(port, sequences.load(state)?);
            }
            kind::TELEMETRY => {
                request.end()?;
                self.telemetry(port.answer(kind, number));
            }
            kind::RECORDS => {
                request.end()?;
                let (records, n_lost) = self.engine.telemetry_mut().records.take();
                let mut message = port.answer(kind, number);
                message.u64(n_lost as u64);
                for record in records {
                    record.values().into_iter().for_each(|value| message.u64(value));
                }
                message.end();
            }
            _ => return Err(Refusal::Malformed),
        }
        Ok(())
    }

    /// Appends tokens and answers logits: u32 count of sequences; for each its number, its count of tokens and of rows; then
    /// all tokens.
    fn forward(&mut self, number: u32, request: &mut Reader<'_>, port: &mut Port) -> Result<(), Refusal> {
        let n_allocation = heap::n_allocation();
        let n_append = request.u32()? as usize;
        if n_append > N_APPEND_MAX {
            return Err(Refusal::Malformed);
        }
        let mut parts = [[0usize; 3]; N_APPEND_MAX];
        for part in &mut parts[..n_append] {
            for number in part {
                *number = request.u32()? as usize;
            }
        }
        let ids = request.rest();
        let n_token = parts[..n_append].iter().map(|[_, n_token, _]| n_token).sum::<usize>();
        if n_token > N_TOKEN_MAX || ids.len() != 4 * n_token {
            return Err(Refusal::Malformed);
        }
        self.tokens.clear();
        self.tokens.extend(ids.as_chunks::<4>().0.iter().map(|&four| u32::from_le_bytes(four)));
        let mut appends = [Append { seq: 0, tokens: &[], n_logit: 0 }; N_APPEND_MAX];
        let mut rest = &self.tokens[..];
        for (append, &[seq, n_token, n_logit]) in appends.iter_mut().zip(&parts[..n_append]) {
            let (tokens, after) = rest.split_at(n_token);
            (*append, rest) = (Append { seq, tokens, n_logit }, after);
        }
        let (expected, got) = (self.engine.n_logit_value(&appends[..n_append])?, self.logits.len());
        let logits = self.logits.get_mut(..expected).ok_or(Error::OutputSize { expected, got })?;
        let shared = RefCell::new(&mut *port);
        let n_pass = self.engine.telemetry().n_pass;
        let stop = || {
            let mut port = shared.borrow_mut();
            port.progress(number, n_pass, 0, QUIET_US);
            port.is_cancelled(number)
        };
        self.passes.forward(&mut self.engine, &appends[..n_append], logits, &stop)?;
        // SAFETY: any f32 is four bytes, and the machine is little-endian, as the line is.
        let bytes = unsafe { core::slice::from_raw_parts(logits.as_ptr().cast::<u8>(), size_of_val(logits)) };
        port.send(kind::FORWARD + kind::ANSWER, number, bytes);
        self.n_allocation_in_passes += heap::n_allocation() - n_allocation;
        Ok(())
    }

    fn save(&mut self, seq: usize, number: u32, port: &mut Port) -> Result<(), Refusal> {
        heap::unseal();
        let saved = self.engine.sequences().save(seq);
        let sent = saved.map(|state| port.send(kind::SEQ_SAVE + kind::ANSWER, number, &state));
        heap::seal();
        Ok(sent?)
    }

    fn telemetry(&self, mut message: Message<'_>) {
        let (telemetry, counts) = (self.engine.telemetry(), self.engine.store().counts());
        let lock = self.engine.lock();
        for value in [
            telemetry.n_pass,
            telemetry.n_token,
            telemetry.pass_us,
            telemetry.output_us,
            counts.bytes_read,
            counts.n_request,
            counts.n_retry,
            counts.n_stall,
            lock.n_deferred(),
            lock.longest_deferral_us(),
        ] {
            message.u64(value);
        }
        for t in &telemetry.layers {
            let times = [t.stream_us, t.rms_us, t.attn_us, t.ffn_proj_us, t.ffn_act_us, t.ffn_down_us, t.layer_us()];
            times.into_iter().for_each(|us| message.u64(us));
        }
        message.end();
    }

    /// What was chosen when it was opened, and the bytes that it holds.
    pub fn info(&self, message: &mut Message<'_>) {
        let (engine, bytes, store) = (&self.engine, self.engine.bytes(), self.engine.store());
        let n_pinned = (0..engine.config().n_layer).filter(|&layer| !store.is_streamed(layer)).count();
        for value in [
            self.options.n_ctx,
            engine.config().n_vocab,
            self.options.n_seq_max,
            engine.platform().n_worker(),
            self.options.kv.bytes(),
            bytes.weights,
            engine.bytes_kv_held(),
            bytes.kv,
            bytes.activations,
            store.plan().bytes_streamed(store.weights().layout()),
            n_pinned,
            self.logits.len() / engine.config().n_vocab,
        ] {
            message.u64(value as u64);
        }
    }
}
