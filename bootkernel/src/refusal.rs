//! Why a request is not served.

use crate::wire::Port;
use alloc::string::String;
use axiom_core::error::{Error, ErrorClass};
use axiom_core::protocol::Malformed;

/// What is to be said instead of an answer.
pub enum Refusal {
    /// The engine's word.
    Core(Error),
    /// A class, and words that were made before anything was sealed.
    Said(ErrorClass, String),
    /// A request that cannot be read.
    Malformed,
    /// A request for an engine, of which there is none.
    NotOpen,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Core(error)
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        Refusal::Malformed
    }
}

impl Refusal {
    /// Sends it, without allocating.
    pub fn send(&self, port: &mut Port, kind: u16, number: u32) {
        let class = match self {
            Refusal::Core(error) => error.class(),
            Refusal::Said(class, _) => *class,
            Refusal::Malformed | Refusal::NotOpen => ErrorClass::Argument,
        };
        let mut message = port.error(number, class);
        match self {
            Refusal::Core(error) => message.text(format_args!("{error}")),
            Refusal::Said(_, what) => message.text(format_args!("{what}")),
            Refusal::Malformed => message.text(format_args!(
                "request {kind} cannot be read: it ends early, or says what cannot be; use the package of this kernel"
            )),
            Refusal::NotOpen => message.text(format_args!("request {kind} needs a model; open it first")),
        }
        message.end();
    }
}
