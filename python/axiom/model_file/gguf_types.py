"""The numbers of the GGUF format: value types of its metadata and formats of its tensors.

Every tensor format that the public format table assigns is listed, supported here or not, so that a header can be
measured and shown even when the engine cannot run the model. `architectures` says which ones the engine runs.
"""

from __future__ import annotations

from enum import IntEnum

from axiom.record import Record

__all__ = ["TensorFormat", "ValueType"]


class ValueType(IntEnum):
    """Type of a metadata value."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


class _Block(Record):
    n_weights: int
    n_bytes: int


class TensorFormat(IntEnum):
    """How the weights of a tensor are stored.

    >>> TensorFormat.Q4_0.block_weights, TensorFormat.Q4_0.block_bytes
    (32, 18)
    >>> TensorFormat.Q4_K.row_bytes(4096)
    2304
    """

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    NVFP4 = 40
    Q1_0 = 41
    Q2_0 = 42

    @property
    def block_weights(self) -> int:
        """Weights in one block; a row is a whole number of blocks."""
        return _BLOCKS[self].n_weights

    @property
    def block_bytes(self) -> int:
        """Bytes of one block."""
        return _BLOCKS[self].n_bytes

    def row_bytes(self, n_weights: int) -> int:
        """Bytes of a row of `n_weights`, which must be a multiple of `block_weights`."""
        n_blocks, rest = divmod(n_weights, self.block_weights)
        if rest:
            raise ValueError(f"a {self.name} row holds a multiple of {self.block_weights} weights, got {n_weights}")
        return n_blocks * self.block_bytes


_BLOCKS: dict[TensorFormat, _Block] = {
    TensorFormat.F32: _Block(1, 4),
    TensorFormat.F16: _Block(1, 2),
    TensorFormat.Q4_0: _Block(32, 18),
    TensorFormat.Q4_1: _Block(32, 20),
    TensorFormat.Q5_0: _Block(32, 22),
    TensorFormat.Q5_1: _Block(32, 24),
    TensorFormat.Q8_0: _Block(32, 34),
    TensorFormat.Q8_1: _Block(32, 36),
    TensorFormat.Q2_K: _Block(256, 84),
    TensorFormat.Q3_K: _Block(256, 110),
    TensorFormat.Q4_K: _Block(256, 144),
    TensorFormat.Q5_K: _Block(256, 176),
    TensorFormat.Q6_K: _Block(256, 210),
    TensorFormat.Q8_K: _Block(256, 292),
    TensorFormat.IQ2_XXS: _Block(256, 66),
    TensorFormat.IQ2_XS: _Block(256, 74),
    TensorFormat.IQ3_XXS: _Block(256, 98),
    TensorFormat.IQ1_S: _Block(256, 50),
    TensorFormat.IQ4_NL: _Block(32, 18),
    TensorFormat.IQ3_S: _Block(256, 110),
    TensorFormat.IQ2_S: _Block(256, 82),
    TensorFormat.IQ4_XS: _Block(256, 136),
    TensorFormat.I8: _Block(1, 1),
    TensorFormat.I16: _Block(1, 2),
    TensorFormat.I32: _Block(1, 4),
    TensorFormat.I64: _Block(1, 8),
    TensorFormat.F64: _Block(1, 8),
    TensorFormat.IQ1_M: _Block(256, 56),
    TensorFormat.BF16: _Block(1, 2),
    TensorFormat.TQ1_0: _Block(256, 54),
    TensorFormat.TQ2_0: _Block(256, 66),
    TensorFormat.MXFP4: _Block(32, 17),
    TensorFormat.NVFP4: _Block(64, 36),
    TensorFormat.Q1_0: _Block(128, 18),
    TensorFormat.Q2_0: _Block(64, 18),
}
