"""The arithmetic that every body shares, to the bit; the numpy twin of `axiom_core::arithmetic`.

It is what docs/arithmetic.md defines below the level of a layer: `half` reads and writes 16-bit floats,
`elementary` has exp, silu and sum16, `float64` the functions behind rope and sampling, `activation` makes
integers of activations, and `dot` multiplies them with weights.
"""
