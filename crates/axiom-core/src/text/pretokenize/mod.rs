//! Cutting a text into words before byte-level BPE, as `tokenizer.ggml.pre` names it.
//!
//! Each pre-tokenizer is a sequence of steps. A step finds matches from left to right and cuts before and after each;
//! what lies between two matches stays whole (the `isolated` behaviour of Hugging Face `tokenizers`), and the next step
//! cuts each piece anew, seeing nothing beyond it. The steps are written by hand and equal the regular expressions in
//! the original tokenizer.json files, backtracking and all; `docs/tokenizers.md` lists expressions and sources.

mod deepseek;
mod digits;
mod falcon;
mod gpt2;
mod llama3;
mod o200k;
mod scan;

use crate::error::Error;
use crate::text::source::quoted;
use crate::text::unicode::{LETTER, MARK};
use alloc::{format, string::String, vec::Vec};

/// The first match at or after a place: where it starts and ends.
type Find<T> = fn(&T, usize) -> Option<(usize, usize)>;

/// One step of a pre-tokenizer. Steps on bytes come last, since they can cut inside a character.
#[derive(Clone, Copy, Debug)]
enum Step {
    Text(Find<str>),
    Bytes(Find<[u8]>),
}

/// One way to cut texts, under one or more names.
#[derive(Debug)]
pub struct PreTokenizer {
    /// All values of `tokenizer.ggml.pre` that mean it; the first is the name of the family.
    pub names: &'static [&'static str],
    /// Whether a word that is a token is taken whole, whatever the merges say.
    pub ignore_merges: bool,
    /// Whether a text begins with the begin-of-text token where the file does not say.
    pub add_bos: bool,
    steps: &'static [Step],
}

impl PreTokenizer {
    /// The name of the family.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }
}

const GPT2: Step = Step::Text(gpt2::find);
const SINGLE_DIGITS: Step = Step::Text(|text, from| digits::find(text, from, 1));
const LLAMA3: Step = Step::Text(|text, from| llama3::find(text, from, LETTER, 3));
const QWEN2: Step = Step::Text(|text, from| llama3::find(text, from, LETTER, 1));
const QWEN35: Step = Step::Text(|text, from| llama3::find(text, from, LETTER | MARK, 1));
const TEKKEN: Step = Step::Text(|text, from| o200k::find(text, from, false, 1));
const GPT4O: Step = Step::Text(|text, from| o200k::find(text, from, true, 3));

/// All that are built in.
pub static PRE_TOKENIZERS: [PreTokenizer; 13] = [
    PreTokenizer {
        names: &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
            "gigachat",
            "mellum",
        ],
        ignore_merges: false,
        add_bos: false,
        steps: &[GPT2],
    },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        ignore_merges: false,
        add_bos: false,
        steps: &[SINGLE_DIGITS, GPT2],
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        ignore_merges: true,
        add_bos: true,
        steps: &[LLAMA3],
    },
    PreTokenizer {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe"],
        ignore_merges: false,
        add_bos: false,
        steps: &[LLAMA3],
    },
    PreTokenizer { names: &["glm4", "glm5"], ignore_merges: true, add_bos: false, steps: &[LLAMA3] },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "kormo", "solar-open", "grok-2"],
        ignore_merges: false,
        add_bos: false,
        steps: &[QWEN2],
    },
    PreTokenizer { names: &["qwen35"], ignore_merges: false, add_bos: false, steps: &[QWEN35] },
    PreTokenizer { names: &["tekken"], ignore_merges: true, add_bos: true, steps: &[TEKKEN] },
    PreTokenizer {
        names: &["gpt-4o", "llama4", "kanana2", "minimax-m2"],
        ignore_merges: false,
        add_bos: false,
        steps: &[GPT4O],
    },
    PreTokenizer {
        names: &["deepseek-llm"],
        ignore_merges: false,
        add_bos: false,
        steps: &[
            Step::Text(deepseek::line_break),
            Step::Text(deepseek::llm_letters),
            Step::Text(deepseek::llm_punctuation),
            Step::Text(deepseek::trailing_space),
            Step::Text(deepseek::llm_east_asian),
            SINGLE_DIGITS,
        ],
    },
    PreTokenizer {
        names: &["deepseek-coder"],
        ignore_merges: false,
        add_bos: false,
        steps: &[
            Step::Text(deepseek::line_break),
            Step::Text(deepseek::coder_letters),
            Step::Text(deepseek::coder_punctuation),
            Step::Text(deepseek::llm_east_asian),
            SINGLE_DIGITS,
        ],
    },
    PreTokenizer {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        ignore_merges: false,
        add_bos: false,
        steps: &[
            Step::Text(|text, from| digits::find(text, from, 3)),
            Step::Text(deepseek::v3_east_asian),
            Step::Text(deepseek::v3),
        ],
    },
    PreTokenizer {
        names: &["falcon"],
        ignore_merges: false,
        add_bos: false,
        steps: &[
            Step::Text(falcon::punctuation),
            GPT2,
            Step::Bytes(falcon::byte_numbers),
            Step::Bytes(falcon::three_digits),
        ],
    },
];

/// The pre-tokenizer of this name, or the error that lists the names there are.
///
/// A file that gives no name was made before names were, and says nothing about how its text was cut: it is refused.
pub fn by_name(name: Option<&str>) -> Result<&'static PreTokenizer, Error> {
    let found = name.and_then(|name| PRE_TOKENIZERS.iter().find(|pre| pre.names.contains(&name)));
    found.ok_or_else(|| {
        let names: Vec<String> =
            PRE_TOKENIZERS.iter().flat_map(|pre| pre.names).map(|name| format!("{name:?}")).collect();
        Error::UnsupportedTokenizer {
            key: "tokenizer.ggml.pre",
            got: name.map_or_else(|| String::from("a file without this key"), |name| quoted(name.as_bytes())),
            supported: names.join(", "),
        }
    })
}

/// Cut `text` into `words`, byte ranges in order that together cover it.
pub fn split(pre: &PreTokenizer, text: &str, words: &mut Vec<(usize, usize)>) {
    words.clear();
    if text.is_empty() {
        return;
    }
    words.push((0, text.len()));
    let mut pieces = Vec::new();
    for step in pre.steps {
        core::mem::swap(words, &mut pieces);
        words.clear();
        for &(start, end) in &pieces {
            let cut = |word: (usize, usize)| words.push((start + word.0, start + word.1));
            match step {
                Step::Text(find) => cut_piece(&text[start..end], end - start, find, cut),
                Step::Bytes(find) => cut_piece(&text.as_bytes()[start..end], end - start, find, cut),
            }
        }
    }
}

/// Cut one piece of `n_bytes`: each match, and each stretch between two.
fn cut_piece<T: ?Sized>(piece: &T, n_bytes: usize, find: &Find<T>, mut cut: impl FnMut((usize, usize))) {
    let mut at = 0;
    while let Some((start, end)) = find(piece, at) {
        if start > at {
            cut((at, start));
        }
        cut((start, end));
        at = end;
    }
    if at < n_bytes {
        cut((at, n_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pre: &str, text: &str) -> Vec<String> {
        let mut ranges = Vec::new();
        split(by_name(Some(pre)).unwrap(), text, &mut ranges);
        ranges.iter().map(|&(start, end)| String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()).collect()
    }

    #[test]
    fn known_cuts() {
        assert_eq!(
            words("gpt-2", "I'LL we'll  go\n\n1234"),
            ["I", "'", "LL", " we", "'ll", " ", " go", "\n", "\n", "1234"]
        );
        assert_eq!(words("llama-bpe", "I'LL go!\n\n 12345"), ["I", "'LL", " go", "!\n\n", " ", "123", "45"]);
        assert_eq!(words("qwen2", "a 12\r\n  b"), ["a", " ", "1", "2", "\r\n", " ", " b"]);
        assert_eq!(words("tekken", "HelloWORLD あA/"), ["Hello", "WORLD", " あ", "A", "/"]);
        assert_eq!(words("smollm", "x42 "), ["x", "4", "2", " "]);
        assert_eq!(words("falcon", "a12345!! "), ["a", "123", "45", "!!", " "]);
        assert_eq!(words("deepseek-v3", "12345 .abc d\u{1}7"), ["123", "45", " .", "abc", " d", "\u{1}", "7"]);
    }

    #[test]
    fn every_pre_tokenizer_covers_every_text_once() {
        let text = "Ab\u{301}c 中文かな 12½٣ \r\n\t!?\u{3000}'S\u{1F468}\u{200D}\u{1F469}  ";
        for pre in &PRE_TOKENIZERS {
            let mut ranges = Vec::new();
            split(pre, text, &mut ranges);
            let mut at = 0;
            for &(start, end) in &ranges {
                assert!(start == at && end > start, "{}: {ranges:?}", pre.name());
                at = end;
            }
            assert_eq!(at, text.len());
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let message = format!("{}", by_name(Some("nonsense")).unwrap_err());
        assert!(message.contains("\"nonsense\"") && message.contains("\"llama-bpe\""), "{message}");
        assert!(by_name(None).is_err());
    }
}
