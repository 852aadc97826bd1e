//! One error enum for the whole core. Each variant carries what, where, expected and got; its text is one lower-case
//! sentence that ends with what to do.

use alloc::string::String;
use core::fmt;

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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
        }
    }
}

impl core::error::Error for Error {}
