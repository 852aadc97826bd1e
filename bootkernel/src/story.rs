//! From an image to a text: the model is opened, the prompt run, tokens chosen one by one, and everything that was computed
//! and how long it took is printed.

use crate::exit::{Status, fail};
use crate::model::{Settings, open, read_head, status_of};
use crate::passes::Passes;
use crate::rate::measure;
use crate::report::{self, Hex};
use crate::storage::Source;
use crate::trial::Trap;
use crate::vocabulary::{context_length, tokenizer};
use crate::wish::{Detail, Wish, sampling};
use crate::{clock, console, heap, line, progress, watchdog};
use alloc::vec;
use alloc::vec::Vec;
use axiom_core::arithmetic::CONTRACT;
use axiom_core::kernels::Kernels;
use axiom_core::memory::ROWS_PER_WAVE;
use axiom_core::receipt::ReceiptChain;
use axiom_core::runtime::{Append, Engine, Options};
use axiom_core::sample::Sampler;
use axiom_core::text::{TextDecoder, Tokenizer};
use bare::boot::CommandLine;
use bare::metadata::Metadata;

/// Tells the story, and returns when it is told.
pub fn tell(source: Source, options: &CommandLine, kernels: &'static Kernels, n_core: usize) {
    let wish = Wish::read(options);
    let opened_us = clock::now_us();
    let image = read_head(&source).unwrap_or_else(|trouble| fail(trouble.status, trouble.what));
    let metadata = Metadata::new(image.metadata());
    let parameters = sampling(options, metadata);
    let tokenizer = tokenizer(metadata).unwrap_or_else(|error| fail(Status::Model, error));
    let prompt = tokenizer.encode(wish.prompt, true, false, true).unwrap_or_else(|error| fail(Status::Model, error));
    if prompt.is_empty() {
        fail(Status::CommandLine, "prompt=: an empty prompt has no token to begin with");
    }
    let n_trained = context_length(metadata);
    let n_ctx = n_trained.min(prompt.len().saturating_add(wish.n_token));
    if prompt.len() >= n_ctx {
        fail(
            Status::CommandLine,
            format_args!("prompt=: {} tokens do not fit in a context of {n_trained}; use a shorter one", prompt.len()),
        );
    }

    if wish.measures_disk {
        measure(&source);
    }
    let settings = Settings {
        options: Options { n_ctx, n_seq_max: 1, rows_per_pass: ROWS_PER_WAVE, kv: wish.kv },
        budget: wish.budget,
        is_paranoid: wish.is_paranoid,
    };
    let n_vocab = image.config.n_vocab;
    let canonical = parameters.canonical_bytes();
    let contract = alloc::format!("{CONTRACT} kv={}", wish.kv.name());
    let mut model_sha256 = [0; 32];
    model_sha256.copy_from_slice(image.source_sha256());
    // Before the engine, which takes what is left.
    let mut telling = Telling {
        passes: Passes::default(),
        chain: ReceiptChain::new(&contract, &model_sha256, &prompt, &canonical),
        sampler: Sampler::new(kernels, n_vocab, parameters).unwrap_or_else(|error| fail(Status::CommandLine, error)),
        logits: vec![0.0; n_vocab],
        history: {
            let mut history = Vec::with_capacity(n_ctx + 1);
            history.extend_from_slice(&prompt);
            history
        },
        // No more tokens come than there is context for, whatever was asked for.
        text: Vec::with_capacity(16 * (n_ctx - prompt.len()) + 64),
        n_printed: 0,
        ignores_end: wish.ignores_end,
        detail: wish.telemetry,
        trap: wish.trap,
        n_core,
    };
    let mut engine = open(source.device, &image, &settings, kernels, n_core, &mut |_, _| true)
        .unwrap_or_else(|error| fail(status_of(&error), format_args!("{}: {error}", source.name)));
    report::opened(&source.name, &engine, opened_us);
    let seq = engine.sequences().open().unwrap_or_else(|error| fail(Status::Model, error));
    // Where lines come for every token, the text comes after them.
    let is_told_at_once = wish.telemetry == Detail::Nothing;
    if is_told_at_once {
        line!("axiom: text follows");
    }
    let n_allocation = heap::n_allocation();
    heap::seal();
    watchdog::start();
    let began_us = clock::now_us();
    // After no prompt the text begins here; after one it goes on.
    let decoder = tokenizer.decoder(wish.prompt.is_empty(), false);
    let reason = telling.run(&mut engine, &tokenizer, seq, decoder, n_ctx);
    let us = clock::now_us() - began_us;
    watchdog::stop();
    heap::unseal();
    if !is_told_at_once {
        line!("axiom: text follows");
    }
    telling.print_text();
    line!("\naxiom: end of text");

    let n_new = telling.history.len() - prompt.len();
    report::totals(&engine, n_new, prompt.len(), reason, us);
    line!("axiom: {n_allocation} allocations in initialisation, {} after", heap::n_allocation() - n_allocation);
    line!("axiom: receipt {} after {n_new} tokens", Hex(&telling.chain.digest()));
}

/// A text in the making. All its memory is there before it begins.
struct Telling<'a> {
    passes: Passes,
    chain: ReceiptChain,
    sampler: Sampler,
    logits: Vec<f32>,
    history: Vec<u32>,
    text: Vec<u8>,
    /// Bytes of the text that were printed.
    n_printed: usize,
    ignores_end: bool,
    detail: Detail,
    trap: Option<Trap<'a>>,
    n_core: usize,
}

impl Telling<'_> {
    fn run(
        &mut self,
        engine: &mut Engine,
        tokenizer: &Tokenizer,
        seq: usize,
        mut decoder: TextDecoder,
        n_ctx: usize,
    ) -> &'static str {
        let mut pending = 0;
        loop {
            let start_us = clock::now_us();
            self.forward(engine, seq, pending);
            pending = self.history.len();
            let pass_us = clock::now_us() - start_us;
            let position = self.history.len();
            let token = self
                .sampler
                .sample(&self.logits, &self.history, position as u32)
                .unwrap_or_else(|error| fail(Status::Model, error));
            if let Err(error) = self.chain.update(position as u32, token, &self.logits) {
                fail(Status::Model, error);
            }
            self.history.push(token);
            progress::token_chosen();
            let sampled_us = clock::now_us() - start_us - pass_us;
            let is_end = !self.ignores_end && tokenizer.ids().eog.contains(&token);
            let text = &mut self.text;
            if !is_end {
                decoder.push(tokenizer.vocab(), token, &mut |c| append(text, c));
            }
            let reason = match () {
                () if is_end => Some("end of text"),
                () if self.history.len() >= n_ctx => Some("as long as asked for"),
                () => None,
            };
            if reason.is_some() {
                decoder.finish(&mut |c| append(text, c));
            }
            if self.detail == Detail::Layers {
                report::layers(engine);
            }
            if self.detail >= Detail::Tokens {
                report::token(token, position, pass_us, sampled_us);
            } else {
                self.print_text();
            }
            if let Some(reason) = reason {
                return reason;
            }
        }
    }

    /// The logits after the last token; the tokens from `pending` on are new.
    fn forward(&mut self, engine: &mut Engine, seq: usize, pending: usize) {
        let append = Append { seq, tokens: &self.history[pending..], n_logit: 1 };
        let boundary = || {
            if let Some(trap) = self.trap {
                trap.spring(self.n_core);
            }
            false
        };
        if let Err(error) = self.passes.forward(engine, &[append], &mut self.logits, &boundary) {
            watchdog::stop();
            heap::unseal();
            fail(status_of(&error), error);
        }
    }

    /// Prints what there is of the text, line or not.
    fn print_text(&mut self) {
        let mut console = console::CONSOLE.lock();
        console.write_bytes(&self.text[self.n_printed..]);
        console.flush();
        self.n_printed = self.text.len();
    }
}

fn append(text: &mut Vec<u8>, c: char) {
    let mut bytes = [0; 4];
    let bytes = c.encode_utf8(&mut bytes).as_bytes();
    // Room for the text is made once; a text that is longer than any that was thought of ends there.
    if text.len() + bytes.len() <= text.capacity() {
        text.extend_from_slice(bytes);
    }
}
