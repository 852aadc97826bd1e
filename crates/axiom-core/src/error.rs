//! One error enum for the whole core. Each variant carries what, where, expected and got; its text is one lower-case
//! sentence that ends with what to do.

mod class;

pub use self::class::ErrorClass;

use crate::platform::IoFault;
use alloc::{borrow::Cow, string::String};
use core::fmt;

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// A kernel table was asked for by a name that no table has.
    UnknownKernels {
        /// The name.
        got: String,
        /// The names there are, separated by commas.
        valid: String,
    },
    /// A kernel table was asked for that this processor cannot run.
    UnsupportedKernels {
        /// The table.
        name: &'static str,
        /// What the processor or the operating system lacks, separated by commas.
        missing: String,
        /// The tables that run here, separated by commas.
        usable: String,
    },
    /// A number of a model's configuration that cannot be.
    Config {
        /// The field.
        name: &'static str,
        /// What would have been right.
        expected: &'static str,
        /// What it is.
        got: f64,
    },
    /// An option that is too small or too large a number.
    Count {
        /// The option.
        name: &'static str,
        /// What it is.
        got: usize,
        /// The most it may be; the least is 1.
        most: usize,
    },
    /// A tensor whose shape, type or size is not the model's.
    Shape {
        /// The tensor.
        name: String,
        /// What the model needs.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// A tensor that the model needs is not there.
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor that the forward pass would not read.
    UnknownTensor {
        /// The tensor.
        name: String,
    },
    /// The region has no room for what is carved from it.
    Region {
        /// Bytes of the region.
        len: usize,
        /// Bytes carved before.
        used: usize,
        /// Values asked for.
        n: usize,
        /// Bytes of each.
        bytes_each: usize,
    },
    /// Every sequence is taken.
    NoSequence {
        /// How many there are.
        n_seq_max: usize,
    },
    /// A sequence that is not open.
    UnknownSequence {
        /// Its number.
        seq: usize,
        /// How many are open.
        open: usize,
    },
    /// A sequence in a pass twice.
    SequenceTwice {
        /// Its number.
        seq: usize,
    },
    /// A sequence without new tokens in a pass.
    NoTokens {
        /// The sequence.
        seq: usize,
    },
    /// More rows of logits asked for than there are new tokens.
    LogitRows {
        /// The sequence.
        seq: usize,
        /// Its new tokens.
        n_token: usize,
        /// Rows asked for.
        n_logit: usize,
    },
    /// A token that the vocabulary does not have, in a pass.
    Token {
        /// The sequence.
        seq: usize,
        /// The token.
        token: u32,
        /// Tokens of the vocabulary.
        n_vocab: usize,
    },
    /// More positions than the context has.
    ContextLength {
        /// The sequence.
        seq: usize,
        /// Positions it has.
        n_pos: usize,
        /// Positions to be appended.
        n_new: usize,
        /// Positions of the context.
        n_ctx: usize,
    },
    /// A rewind to a position beyond the end.
    Rewind {
        /// The sequence.
        seq: usize,
        /// The position.
        n_pos: usize,
        /// The sequence's length.
        len: usize,
    },
    /// Saved state that is damaged, or of another model or cache type.
    SavedSequence {
        /// What does not fit.
        what: &'static str,
        /// What would.
        expected: usize,
        /// What is there.
        got: usize,
    },
    /// The room for logits has another size than the logits.
    OutputSize {
        /// Values expected.
        expected: usize,
        /// Values there is room for.
        got: usize,
    },
    /// Logits that are not finite.
    NotFinite {
        /// The sequence.
        seq: usize,
        /// The position.
        pos: usize,
    },
    /// A slot of weights was asked for what its state does not allow.
    SlotState {
        /// The slot.
        slot: usize,
        /// Its state.
        state: &'static str,
        /// What was asked.
        request: &'static str,
    },
    /// A position of the residual stream was begun or ended out of turn.
    Position {
        /// What was asked.
        request: &'static str,
        /// The position.
        position: usize,
        /// The oldest live position.
        first: usize,
        /// The position after the newest.
        end: usize,
    },
    /// A layer was acquired while another was held, or released while it was not.
    LayerLock {
        /// What was asked.
        request: &'static str,
        /// For which layer.
        layer: usize,
        /// The layer that is held.
        held: Option<usize>,
    },
    /// A streamer that cannot be, or an extent that it does not stream.
    Stream {
        /// What is wrong.
        what: &'static str,
        /// What would have been right.
        expected: usize,
        /// What it is.
        got: usize,
    },
    /// A device answered what nobody asked.
    UnknownTag {
        /// The answer's tag.
        tag: u32,
    },
    /// A device says that it read more than was asked for.
    Completion {
        /// The answer's tag.
        tag: u32,
        /// Bytes asked for.
        expected: usize,
        /// Bytes that it says.
        got: usize,
    },
    /// A device has stopped answering.
    Silence {
        /// Requests that it owes an answer to.
        n_request: usize,
        /// For how long none has come.
        waited_us: u64,
    },
    /// Weights cannot be read.
    Read {
        /// The extent.
        extent: usize,
        /// Where in the image.
        offset: u64,
        /// Why.
        fault: IoFault,
    },
    /// A tensor cannot be read.
    ReadTensor {
        /// The tensor.
        name: String,
        /// Why.
        fault: IoFault,
    },
    /// Bytes that do not begin as an image does.
    NotAnImage,
    /// An image of a later version.
    NewerImage {
        /// Its version.
        version: u32,
        /// The latest that can be read.
        known: u32,
    },
    /// The head of an image has another digest than it says.
    DamagedHead,
    /// The head of an image says what cannot be.
    Image {
        /// What is wrong.
        what: &'static str,
        /// What would have been right.
        expected: u64,
        /// What it says.
        got: u64,
    },
    /// Weights that are not those that were packed.
    Damaged {
        /// The extent.
        extent: usize,
    },
    /// A budget of memory below what the model needs at least.
    Budget {
        /// Least bytes of weights.
        floor: usize,
        /// Bytes there are for them.
        budget: usize,
    },
    /// The system has no memory for what is to be returned.
    OutOfMemory {
        /// What it is.
        what: &'static str,
        /// Bytes that it needs.
        n_bytes: usize,
    },
    /// The caller asked to stop.
    Cancelled,
    /// A value in the metadata of a model file cannot be true.
    Metadata {
        /// The metadata key.
        key: &'static str,
        /// Index into the array, if the value is one.
        index: Option<usize>,
        /// What would have been right.
        expected: Cow<'static, str>,
        /// What the file says.
        got: String,
    },
    /// A model file asks for a tokenizer that is not among those built in.
    UnsupportedTokenizer {
        /// The metadata key.
        key: &'static str,
        /// What the file says.
        got: String,
        /// The values that are supported, separated by commas.
        supported: String,
    },
    /// A token id that the vocabulary does not have.
    TokenId {
        /// The id.
        id: i64,
        /// Number of tokens.
        n_vocab: usize,
    },
    /// The vocabulary has no way to write a byte of the text.
    NoTokenForByte {
        /// The byte.
        byte: u8,
    },
    /// A text is longer than positions in it can be counted.
    TextTooLong {
        /// Its length in UTF-8.
        n_bytes: usize,
        /// The longest that can be encoded in one call.
        n_bytes_max: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnknownKernels { got, valid } => {
                write!(f, "no kernel table is named {got:?}; use one of {valid}")
            }
            Error::UnsupportedKernels { name, missing, usable } => {
                write!(f, "kernel table {name} needs {missing}, which this machine lacks; use one of {usable}")
            }
            Error::Config { name, expected, got } => {
                write!(f, "{name}: expected {expected}, got {got}; the model's file is damaged or of another kind")
            }
            Error::Count { name, got, most } => write!(f, "{name}: expected a number from 1 to {most}, got {got}"),
            Error::Shape { name, expected, got } => {
                write!(f, "{name}: expected {expected}, got {got}; convert or download the model again")
            }
            Error::MissingTensor { name } => {
                write!(f, "{name}: the model has no such tensor; convert or download it again")
            }
            Error::UnknownTensor { name } => {
                write!(f, "{name}: the model has a tensor that would be ignored; use a model without it")
            }
            Error::Region { len, used, n, bytes_each } => write!(
                f,
                "{n} values of {bytes_each} bytes do not fit behind {used} bytes in a region of {len}; use a smaller \
                 n_ctx or fewer sequences"
            ),
            Error::NoSequence { n_seq_max } => {
                write!(f, "all {n_seq_max} sequences are taken; free one, or open the engine with a larger n_seq_max")
            }
            Error::UnknownSequence { seq, open } => {
                write!(f, "sequence {seq} is not open ({open} are); use the number that opening it returned")
            }
            Error::SequenceTwice { seq } => {
                write!(f, "sequence {seq} is in the pass twice; give all its tokens in one list")
            }
            Error::LogitRows { seq, n_token, n_logit } => {
                write!(
                    f,
                    "sequence {seq}: expected a number of logit rows in 0 ... {n_token}, its new tokens, got {n_logit}"
                )
            }
            Error::NoTokens { seq } => write!(f, "sequence {seq} has no new tokens; leave it out of the pass"),
            Error::Token { seq, token, n_vocab } => {
                write!(f, "sequence {seq}: expected tokens in 0 ... {}, got {token}", n_vocab - 1)
            }
            Error::ContextLength { seq, n_pos, n_new, n_ctx } => write!(
                f,
                "sequence {seq} has {n_pos} positions and {n_new} more make {}, but n_ctx is {n_ctx}; use a larger \
                 n_ctx or a shorter prompt",
                n_pos.saturating_add(*n_new)
            ),
            Error::Rewind { seq, n_pos, len } => {
                write!(f, "sequence {seq}: expected n_pos in 0 ... {len}, its length, got {n_pos}")
            }
            Error::SavedSequence { what, expected, got } => write!(
                f,
                "saved sequence: {what}: expected {expected}, got {got}; load it with the model and kv that saved it"
            ),
            Error::OutputSize { expected, got } => {
                write!(f, "out: expected room for {expected} values, got {got}")
            }
            Error::NotFinite { seq, pos } => write!(
                f,
                "sequence {seq}: the logits at position {pos} are not finite; the model is damaged, or its values \
                 overflow the cache: try kv='f32'"
            ),
            Error::SlotState { slot, state, request } => {
                write!(
                    f,
                    "weight slot {slot} is {state} and cannot {request}; this is a defect of the engine, report it"
                )
            }
            Error::Position { request, position, first, end } => write!(
                f,
                "cannot {request} position {position} of the residual stream while {first} ... {end} are live; this is a \
                 defect of the engine, report it"
            ),
            Error::LayerLock { request, layer, held } => {
                write!(f, "cannot {request} layer {layer} while ")?;
                match held {
                    Some(held) => write!(f, "layer {held} is held")?,
                    None => write!(f, "none is held")?,
                }
                write!(f, "; this is a defect of the engine, report it")
            }
            Error::Stream { what, expected, got } => {
                write!(f, "streaming: {what}: expected {expected}, got {got}; use a larger memory budget")
            }
            Error::UnknownTag { tag } => {
                write!(f, "the disk answered request {tag:#x}, which nobody made; its driver is at fault")
            }
            Error::Completion { tag, expected, got } => {
                write!(f, "the disk says that request {tag:#x} read {got} bytes of {expected}; its driver is at fault")
            }
            Error::Silence { n_request, waited_us } => write!(
                f,
                "the disk has not answered any of {n_request} requests for {} s; check the disk and its connection, and \
                 open the model again",
                waited_us / 1_000_000
            ),
            Error::Read { extent, offset, fault } => write!(
                f,
                "extent {extent} of the model cannot be read at byte {offset}: {fault}; check the disk and the file"
            ),
            Error::ReadTensor { name, fault } => {
                write!(f, "{name}: the tensor cannot be read: {fault}; check the disk and the file")
            }
            Error::NotAnImage => {
                write!(f, "this is not an .axiom image: it does not begin with AXIOMIMG; make one with `axiom pack`")
            }
            Error::NewerImage { version, known } => write!(
                f,
                "the image has version {version}, and this program reads up to {known}; update the program, or pack the \
                 model again"
            ),
            Error::DamagedHead => {
                write!(f, "the head of the image is damaged: its digest is another; pack or download the model again")
            }
            Error::Image { what, expected, got } => write!(
                f,
                "image: {what}: expected {expected}, got {got}; the file is cut off or damaged: pack or download it again"
            ),
            Error::Damaged { extent } => write!(
                f,
                "extent {extent} of the model is damaged: its digest is another than when it was packed; pack or \
                 download the model again"
            ),
            Error::Budget { floor, budget } => write!(
                f,
                "streaming the model needs {floor} bytes for weights at least, and the budget leaves {budget}; use a \
                 larger memory budget, a smaller n_ctx or fewer sequences"
            ),
            Error::OutOfMemory { what, n_bytes } => write!(
                f,
                "there is no memory for {what}, {n_bytes} bytes; ask for less at a time, or give the program more memory"
            ),
            Error::Cancelled => {
                write!(f, "the pass was stopped before its end, as asked; the sequences are as they were")
            }
            Error::Metadata { key, index, expected, got } => {
                write!(f, "{key}")?;
                if let Some(index) = index {
                    write!(f, "[{index}]")?;
                }
                write!(
                    f,
                    ": expected {expected}, got {got}; the file is damaged or was converted wrongly, convert it again"
                )
            }
            Error::UnsupportedTokenizer { key, got, supported } => {
                write!(f, "{key}: {got} is not supported; supported are {supported}")
            }
            Error::TokenId { id, n_vocab } => {
                write!(f, "token id {id} is outside the vocabulary; ids go from 0 to {}", n_vocab.saturating_sub(1))
            }
            Error::NoTokenForByte { byte } => write!(
                f,
                "the vocabulary has no token for byte 0x{byte:02X} of the text, and no unknown token; remove the \
                 character or use a model whose vocabulary has it"
            ),
            Error::TextTooLong { n_bytes, n_bytes_max } => write!(
                f,
                "the text has {n_bytes} bytes, at most {n_bytes_max} can be encoded in one call; encode it in parts"
            ),
        }
    }
}

impl core::error::Error for Error {}
