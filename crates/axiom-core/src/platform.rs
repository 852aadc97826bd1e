//! The only door out of the core: clock, workers, log.
