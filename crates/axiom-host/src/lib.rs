//! The `Platform` of an operating system.
