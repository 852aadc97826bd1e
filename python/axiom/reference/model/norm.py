"""RMS norm (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization"); docs/arithmetic.md, section 5."""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.elementary import sum16


def rms_norm(x: np.ndarray, w: np.ndarray, eps: float) -> np.ndarray:
    """Scales each vector of f32 [..., n] to a root mean square of 1, then by w, f32 [n]."""
    n = x.shape[-1]
    mean_square = sum16(x * x) / np.float32(n)
    r = np.float32(1) / np.sqrt(mean_square + np.float32(eps))
    return (x * r[..., None]) * w
