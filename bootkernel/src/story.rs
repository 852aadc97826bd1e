//! From an image to a text: the model is opened, the prompt run, tokens chosen one by one, and everything that was computed
//! and how long it took is printed.

use crate::exit::{Status, exit};
use crate::model::{Settings, open, read_head, status_of};
use crate::storage::Source;
use crate::watchdog;
use crate::{clock, console, heap, line};
use alloc::vec;
use alloc::vec::Vec;
use axiom_core::arithmetic::CONTRACT;
use axiom_core::error::Error;
use axiom_core::kernels::Kernels;
use axiom_core::memory::{KVFormat, ROWS_PER_WAVE};
use axiom_core::receipt::ReceiptChain;
use axiom_core::runtime::{Append, Engine, Options};
use axiom_core::sample::{Parameters, Sampler};
use axiom_core::text::special::ROLES;
use axiom_core::text::vocab::{KEY_MERGES, KEY_SCORES, KEY_TOKENS, KEY_TYPES, Strings};
use axiom_core::text::{Tokenizer, VocabSource};
use bare::boot::CommandLine;
use bare::metadata::Metadata;
use core::cell::Cell;
use core::fmt::Display;
use core::str::FromStr;

/// What no layer has been timed for yet may take this long.
const FIRST_LIMIT_US: u64 = 60_000_000;
/// A layer is stuck when it takes this many times the longest so far, and this long.
const STUCK_FACTOR: u64 = 50;
const STUCK_US: u64 = 1_500_000;

/// What the command line asks for.
struct Wish<'a> {
    prompt: &'a str,
    n_token: usize,
    kv: KVFormat,
    budget: Option<usize>,
    is_paranoid: bool,
    telemetry: Detail,
}

/// How much is printed of the times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Nothing,
    Tokens,
    Layers,
}

fn fail(status: Status, what: impl Display) -> ! {
    line!("axiom: {what}");
    exit(status)
}

/// The option of that name as a number.
fn number<T: FromStr>(options: &CommandLine, name: &str) -> Option<T> {
    let text = options.value(name)?;
    let parsed = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    if parsed.is_none() {
        fail(Status::CommandLine, format_args!("{name}={}: expected a number", text.escape_ascii()));
    }
    parsed
}

fn wish(options: &CommandLine) -> Wish<'_> {
    let prompt = options.value("prompt").unwrap_or(b"Once upon a time");
    let word = |name| options.value(name).map(|text| str::from_utf8(text).unwrap_or("?"));
    Wish {
        prompt: str::from_utf8(prompt)
            .unwrap_or_else(|_| fail(Status::CommandLine, "prompt=: expected a text in UTF-8")),
        n_token: number(options, "tokens").unwrap_or(200),
        kv: match word("kv") {
            None | Some("f16") => KVFormat::F16,
            Some("f32") => KVFormat::F32,
            Some(other) => fail(Status::CommandLine, format_args!("kv={other}: expected f16 or f32")),
        },
        budget: number::<usize>(options, "memory_kib").map(|kib| kib << 10),
        is_paranoid: options.value("paranoid") == Some(b"1"),
        telemetry: match word("telemetry") {
            None | Some("layers") => Detail::Layers,
            Some("tokens") => Detail::Tokens,
            Some("none") => Detail::Nothing,
            Some(other) => {
                fail(Status::CommandLine, format_args!("telemetry={other}: expected layers, tokens or none"))
            }
        },
    }
}

/// The settings of the sampler: what the model recommends, changed as the command line says.
fn sampling(options: &CommandLine, metadata: Metadata<'_>) -> Parameters {
    let recommended = |key: &str| metadata.number(key);
    let mut p = Parameters::default();
    let real =
        |name: &str, key: &str, neutral: f64| number(options, name).or_else(|| recommended(key)).unwrap_or(neutral);
    p.temperature = real("temperature", "general.sampling.temp", p.temperature);
    p.top_p = real("top_p", "general.sampling.top_p", p.top_p);
    p.min_p = real("min_p", "general.sampling.min_p", p.min_p);
    p.repeat_penalty = real("repeat_penalty", "general.sampling.penalty_repeat", p.repeat_penalty);
    p.top_k = real("top_k", "general.sampling.top_k", p.top_k.into()).max(0.0) as u32;
    p.repeat_last_n = real("repeat_last_n", "general.sampling.penalty_last_n", p.repeat_last_n.into()) as i32;
    p.seed = number(options, "seed").unwrap_or(0);
    p
}

fn tokenizer(metadata: Metadata<'_>) -> Result<Tokenizer, Error> {
    let missing = |key| Error::Metadata { key, index: None, expected: "a value".into(), got: "none".into() };
    let tokens = metadata.strings(KEY_TOKENS).ok_or(missing(KEY_TOKENS))?;
    let merges = metadata.strings(KEY_MERGES);
    let (types, scores) = (metadata.integers(KEY_TYPES), metadata.reals(KEY_SCORES));
    Tokenizer::new(&VocabSource {
        model: metadata.text("tokenizer.ggml.model").ok_or(missing("tokenizer.ggml.model"))?,
        pre: metadata.text("tokenizer.ggml.pre"),
        name: metadata.text("general.name"),
        tokens: Strings::new(KEY_TOKENS, tokens.raw, &tokens.starts, &tokens.lengths)?,
        types: types.as_deref(),
        scores: scores.as_deref(),
        merges: merges.as_ref().map(|m| Strings::new(KEY_MERGES, m.raw, &m.starts, &m.lengths)).transpose()?,
        ids: ROLES.map(|key| metadata.integer(key)),
        add_bos: metadata.flag("tokenizer.ggml.add_bos_token"),
        add_eos: metadata.flag("tokenizer.ggml.add_eos_token"),
        add_space_prefix: metadata.flag("tokenizer.ggml.add_space_prefix"),
    })
}

/// Tells the story, and returns when it is told.
pub fn tell(source: Source, options: &CommandLine, kernels: &'static Kernels, n_core: usize) {
    let wish = wish(options);
    let opened_us = clock::now_us();
    let image = read_head(&source).unwrap_or_else(|trouble| fail(trouble.status, trouble.what));
    let metadata = Metadata::new(image.metadata());
    let parameters = sampling(options, metadata);
    let tokenizer = tokenizer(metadata).unwrap_or_else(|error| fail(Status::Model, error));
    let prompt = tokenizer.encode(wish.prompt, true, false).unwrap_or_else(|error| fail(Status::Model, error));
    if prompt.is_empty() {
        fail(Status::CommandLine, "prompt=: an empty prompt has no token to begin with");
    }
    let n_trained = context_length(metadata);
    let n_ctx = n_trained.min(prompt.len() + wish.n_token);
    if prompt.len() >= n_ctx {
        fail(
            Status::CommandLine,
            format_args!("prompt=: {} tokens do not fit in a context of {n_trained}; use a shorter one", prompt.len()),
        );
    }

    let settings = Settings {
        options: Options { n_ctx, n_seq_max: 1, rows_per_pass: ROWS_PER_WAVE, kv: wish.kv },
        budget: wish.budget,
        is_paranoid: wish.is_paranoid,
    };
    let mut engine = open(source.device, &image, &settings, kernels, n_core, &mut |_, _| true)
        .unwrap_or_else(|error| fail(status_of(&error), format_args!("{}: {error}", source.name)));
    let bytes = engine.bytes();
    line!(
        "axiom: {}: {} MiB of weights, {} KiB of cache, {} KiB of activations; {} of {} layers stay in memory; {} ms",
        source.name,
        bytes.weights >> 20,
        bytes.kv >> 10,
        bytes.activations >> 10,
        (0..engine.config().n_layer).filter(|&layer| !engine.store().is_streamed(layer)).count(),
        engine.config().n_layer,
        (clock::now_us() - opened_us) / 1000
    );

    let n_vocab = engine.config().n_vocab;
    let canonical = parameters.canonical_bytes();
    let contract = alloc::format!("{CONTRACT} kv={}", wish.kv.name());
    let mut model_sha256 = [0; 32];
    model_sha256.copy_from_slice(image.source_sha256());
    let mut telling = Telling {
        chain: ReceiptChain::new(&contract, &model_sha256, &prompt, &canonical),
        sampler: Sampler::new(n_vocab, parameters).unwrap_or_else(|error| fail(Status::CommandLine, error)),
        logits: vec![0.0; n_vocab],
        history: {
            let mut history = Vec::with_capacity(n_ctx + 1);
            history.extend_from_slice(&prompt);
            history
        },
        text: Vec::with_capacity(16 * wish.n_token + 64),
        longest_us: Cell::new(0),
        detail: wish.telemetry,
    };
    let seq = engine.sequences().open().unwrap_or_else(|error| fail(Status::Model, error));
    let n_allocation = heap::n_allocation();
    heap::seal();
    watchdog::start();
    let began_us = clock::now_us();
    let reason = telling.run(&mut engine, &tokenizer, seq, prompt.len(), n_ctx);
    let us = clock::now_us() - began_us;
    watchdog::stop();
    heap::unseal();

    let n_new = telling.history.len() - prompt.len();
    console::CONSOLE.lock().write_bytes(b"axiom: text follows\n");
    console::CONSOLE.lock().write_bytes(&telling.text);
    console::CONSOLE.lock().write_bytes(b"\naxiom: end of text\n");
    let (telemetry, counts, lock) = (engine.telemetry(), engine.store().counts(), engine.lock());
    line!(
        "axiom: {n_new} tokens after {} of prompt, {reason}, in {us} us, {} passes of {} us; {} bytes read in {} requests, \
         {} retried, {} stalls",
        prompt.len(),
        telemetry.n_pass,
        telemetry.pass_us,
        counts.bytes_read,
        counts.n_request,
        counts.n_retry,
        counts.n_stall
    );
    for (layer, t) in telemetry.layers.iter().enumerate() {
        line!(
            "axiom: layer {layer} stream {} rms {} attn {} ffn_proj {} ffn_act {} ffn_down {} all {} us",
            t.stream_us,
            t.rms_us,
            t.attn_us,
            t.ffn_proj_us,
            t.ffn_act_us,
            t.ffn_down_us,
            t.layer_us()
        );
    }
    line!(
        "axiom: {} ticks waited for the end of a layer, {} us at most; {} allocations in initialisation, {} after",
        lock.n_deferred(),
        lock.longest_deferral_us(),
        n_allocation,
        heap::n_allocation() - n_allocation
    );
    line!("axiom: receipt {} after {n_new} tokens", Hex(&telling.chain.digest()));
}

/// Positions that the model was trained for.
fn context_length(metadata: Metadata<'_>) -> usize {
    let architecture = metadata.text("general.architecture").unwrap_or_default();
    let key = alloc::format!("{architecture}.context_length");
    metadata.integer(&key).and_then(|n| usize::try_from(n).ok()).unwrap_or(512)
}

/// A text in the making. All its memory is there before it begins.
struct Telling {
    chain: ReceiptChain,
    sampler: Sampler,
    logits: Vec<f32>,
    history: Vec<u32>,
    text: Vec<u8>,
    /// The longest that a layer has taken.
    longest_us: Cell<u64>,
    detail: Detail,
}

impl Telling {
    fn run(
        &mut self,
        engine: &mut Engine,
        tokenizer: &Tokenizer,
        seq: usize,
        n_prompt: usize,
        n_ctx: usize,
    ) -> &'static str {
        let mut decoder = tokenizer.decoder(n_prompt <= 1, false);
        let mut pending = 0;
        loop {
            let start_us = clock::now_us();
            self.forward(engine, seq, pending);
            pending = self.history.len();
            let pass_us = clock::now_us() - start_us;
            let position = self.history.len() as u32;
            let token = self
                .sampler
                .sample(&self.logits, &self.history, position)
                .unwrap_or_else(|error| fail(Status::Model, error));
            if let Err(error) = self.chain.update(position, token, &self.logits) {
                fail(Status::Model, error);
            }
            self.history.push(token);
            let sampled_us = clock::now_us() - start_us - pass_us;
            let is_end = tokenizer.ids().eog.contains(&token);
            if !is_end {
                let text = &mut self.text;
                decoder.push(tokenizer.vocab(), token, &mut |c| append(text, c));
            }
            self.report(engine, token, pass_us, sampled_us);
            let reason = match () {
                () if is_end => "end of text",
                () if self.history.len() >= n_ctx => "as long as asked for",
                () => continue,
            };
            let text = &mut self.text;
            decoder.finish(&mut |c| append(text, c));
            return reason;
        }
    }

    /// The logits after the last token; the tokens from `pending` on are new.
    fn forward(&mut self, engine: &mut Engine, seq: usize, pending: usize) {
        let since = Cell::new(clock::now_us());
        let longest = &self.longest_us;
        let lock = engine.lock().clone();
        let boundary = || {
            let now = clock::now_us();
            longest.set(longest.get().max(now - since.replace(now)));
            // Every tick that has come is served here, and nowhere inside a layer.
            for _ in 0..watchdog::take_ticks() {
                lock.tick(now);
            }
            watchdog::arm(u64::max(STUCK_US, STUCK_FACTOR * longest.get()));
            false
        };
        watchdog::arm(if longest.get() == 0 {
            FIRST_LIMIT_US
        } else {
            u64::max(STUCK_US, STUCK_FACTOR * longest.get())
        });
        let append = Append { seq, tokens: &self.history[pending..], n_logit: 1 };
        if let Err(error) = engine.forward(&[append], &mut self.logits, &boundary) {
            watchdog::stop();
            heap::unseal();
            fail(status_of(&error), error);
        }
        watchdog::disarm();
    }

    fn report(&self, engine: &mut Engine, token: u32, pass_us: u64, sampled_us: u64) {
        if self.detail == Detail::Layers {
            let (records, _) = engine.telemetry_mut().records.take();
            for r in records {
                line!(
                    "axiom: pass {} layer {} tokens {} stream {} compute {} us, {} bytes",
                    r.pass,
                    r.layer,
                    r.n_token,
                    r.times.stream_us,
                    r.times.layer_us() - r.times.stream_us + r.output_us,
                    r.load.bytes
                );
            }
        }
        if self.detail >= Detail::Tokens {
            let at = self.history.len();
            line!(
                "axiom: token {token} at {} pass {pass_us} us, sampled {sampled_us} us, at {} us",
                at - 1,
                clock::now_us()
            );
        }
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

/// Bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
