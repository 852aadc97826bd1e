//! One error enum for the whole core. Each variant carries what, where, expected and got.
