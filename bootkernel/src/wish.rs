//! What the command line asks of a story. `docs/bare.md` lists the options.

use crate::exit::{Status, fail};
use crate::trial::Trap;
use axiom_core::memory::KVFormat;
use axiom_core::sample::Parameters;
use bare::boot::CommandLine;
use bare::metadata::Metadata;
use core::str::FromStr;

/// A story that is wished for.
pub struct Wish<'a> {
    /// The text to continue.
    pub prompt: &'a str,
    /// Most tokens to write.
    pub n_token: usize,
    /// How keys and values are kept.
    pub kv: KVFormat,
    /// Most bytes for weights, cache and activations.
    pub budget: Option<usize>,
    /// Whether a layer's digest is compared at each reading.
    pub is_paranoid: bool,
    /// Whether to go on when the model ends the text.
    pub ignores_end: bool,
    /// Whether the disk is measured first.
    pub measures_disk: bool,
    /// Which times are printed.
    pub telemetry: Detail,
    /// A mistake to be made in mid-run.
    pub trap: Option<Trap<'a>>,
}

/// How much is printed of the times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The text, as it comes, and the sums at the end.
    Nothing,
    /// A line for each token.
    Tokens,
    /// And one for each layer that it went through.
    Layers,
}

/// Every option that there is, of a story and of the machine.
const NAMES: [&str; 22] = [
    "prompt",
    "tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "repeat_last_n",
    "seed",
    "ignore_eos",
    "kv",
    "memory_kib",
    "paranoid",
    "kernels",
    "cores",
    "telemetry",
    "measure_disk",
    "virtio_mmio.device",
    "test",
    "at_pass",
    "serve",
    "exit",
];

/// Ends the machine for a word that is none of the options: one that was misspelt would change nothing, and nobody would know.
pub fn check_names(options: &CommandLine) {
    for word in options.words() {
        let name = word.split(|&byte| byte == b'=').next().unwrap_or_default();
        let is_known = name.len() < word.len() && NAMES.iter().any(|known| known.as_bytes() == name);
        if !is_known {
            let word = word.escape_ascii();
            fail(Status::CommandLine, format_args!("{word}: there is no such option; docs/bare.md has a list of them"));
        }
    }
}

/// The option of that name as a number.
pub fn number<T: FromStr>(options: &CommandLine, name: &str) -> Option<T> {
    let text = options.value(name)?;
    let parsed = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    if parsed.is_none() {
        fail(
            Status::CommandLine,
            format_args!("{name}={}: expected a number as docs/bare.md has it", text.escape_ascii()),
        );
    }
    parsed
}

/// The option of that name as one of two words.
pub fn flag(options: &CommandLine, name: &str) -> bool {
    match options.value(name) {
        None | Some(b"0") => false,
        Some(b"1") => true,
        Some(other) => fail(Status::CommandLine, format_args!("{name}={}: expected 0 or 1", other.escape_ascii())),
    }
}

impl Wish<'_> {
    /// Reads the options; one that makes no sense ends the machine.
    pub fn read(options: &CommandLine) -> Wish<'_> {
        let prompt = options.value("prompt").unwrap_or(b"Once upon a time");
        let word = |name| options.value(name).map(|text| str::from_utf8(text).unwrap_or("?"));
        Wish {
            prompt: str::from_utf8(prompt)
                .unwrap_or_else(|_| fail(Status::CommandLine, "prompt=: expected a text in UTF-8")),
            n_token: match number(options, "tokens") {
                None => 200,
                Some(0) => fail(Status::CommandLine, "tokens=0: expected a number from 1 on"),
                Some(n) => n,
            },
            kv: match word("kv") {
                None | Some("f16") => KVFormat::F16,
                Some("f32") => KVFormat::F32,
                Some(other) => fail(Status::CommandLine, format_args!("kv={other}: expected f16 or f32")),
            },
            budget: number::<usize>(options, "memory_kib").map(|kib| kib.saturating_mul(1024)),
            is_paranoid: flag(options, "paranoid"),
            ignores_end: flag(options, "ignore_eos"),
            measures_disk: flag(options, "measure_disk"),
            trap: number(options, "at_pass").map(|pass| Trap { name: options.value("test").unwrap_or_default(), pass }),
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
}

/// The settings of the sampler: what the model recommends, changed as the command line says.
pub fn sampling(options: &CommandLine, metadata: Metadata<'_>) -> Parameters {
    let recommended = |key: &str| metadata.number(key);
    let mut p = Parameters::default();
    let real =
        |name: &str, key: &str, neutral: f64| number(options, name).or_else(|| recommended(key)).unwrap_or(neutral);
    p.temperature = real("temperature", "general.sampling.temp", p.temperature);
    p.top_p = real("top_p", "general.sampling.top_p", p.top_p);
    p.min_p = real("min_p", "general.sampling.min_p", p.min_p);
    p.repeat_penalty = real("repeat_penalty", "general.sampling.penalty_repeat", p.repeat_penalty);
    // In a header any number below 1 keeps all tokens, and one with a fraction is the whole one.
    let top_k = || recommended("general.sampling.top_k").map(|k| k.max(0.0) as u32);
    p.top_k = number(options, "top_k").or_else(top_k).unwrap_or(p.top_k);
    let last_n = || recommended("general.sampling.penalty_last_n").map(|n| n as i32);
    p.repeat_last_n = number(options, "repeat_last_n").or_else(last_n).unwrap_or(p.repeat_last_n);
    p.seed = number(options, "seed").unwrap_or(0);
    p
}
