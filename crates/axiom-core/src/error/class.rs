//! Which kind of error each is, for callers that make exceptions of them.

use super::Error;

/// Kinds of error, by what is to be done about them: callers outside of the core make exceptions of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ErrorClass {
    /// An argument that cannot be.
    Argument = 1,
    /// A model that is damaged.
    ModelFormat = 2,
    /// A model that is not among those that run.
    UnsupportedModel = 3,
    /// More memory would be needed.
    MemoryBudget = 4,
    /// More positions would be needed.
    ContextLength = 5,
    /// Numbers that are not finite.
    Numeric = 6,
    /// The pass was stopped, as asked.
    Stopped = 7,
    /// A disk failed.
    Io = 8,
    /// The engine did what it must not.
    Defect = 9,
}

impl Error {
    /// Its kind.
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Config { .. }
            | Error::Shape { .. }
            | Error::MissingTensor { .. }
            | Error::UnknownTensor { .. }
            | Error::Damaged { .. }
            | Error::NotAnImage
            | Error::NewerImage { .. }
            | Error::DamagedHead
            | Error::Image { .. }
            | Error::Metadata { .. } => ErrorClass::ModelFormat,
            Error::UnsupportedTokenizer { .. } => ErrorClass::UnsupportedModel,
            Error::Region { .. }
            | Error::NoSequence { .. }
            | Error::Stream { .. }
            | Error::Budget { .. }
            | Error::OutOfMemory { .. } => ErrorClass::MemoryBudget,
            Error::ContextLength { .. } => ErrorClass::ContextLength,
            Error::NotFinite { .. } => ErrorClass::Numeric,
            Error::Cancelled => ErrorClass::Stopped,
            Error::Read { .. }
            | Error::ReadTensor { .. }
            | Error::Silence { .. }
            | Error::UnknownTag { .. }
            | Error::Completion { .. } => ErrorClass::Io,
            Error::SlotState { .. } | Error::Position { .. } | Error::LayerLock { .. } => ErrorClass::Defect,
            Error::UnknownKernels { .. }
            | Error::UnsupportedKernels { .. }
            | Error::Count { .. }
            | Error::UnknownSequence { .. }
            | Error::SequenceTwice { .. }
            | Error::NoTokens { .. }
            | Error::LogitRows { .. }
            | Error::Token { .. }
            | Error::Rewind { .. }
            | Error::SavedSequence { .. }
            | Error::OutputSize { .. }
            | Error::TokenId { .. }
            | Error::NoTokenForByte { .. }
            | Error::TextTooLong { .. } => ErrorClass::Argument,
        }
    }
}
