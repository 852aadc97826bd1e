"""Weight formats, one file each: the GGUF block, how it decodes, how it packs into a panel.

`base` is what every format can do, `scales` the arithmetic that decoded rows share, `pack` how rows become panels and
`codes` how their integers lie there; `floats`, `nibbles` and `k_blocks` are what families of formats have in common.
"""

from __future__ import annotations

from axiom.reference.format.base import WeightFormat
from axiom.reference.format.bf16 import BF16
from axiom.reference.format.f16 import F16
from axiom.reference.format.f32 import F32
from axiom.reference.format.q2_k import Q2_K
from axiom.reference.format.q3_k import Q3_K
from axiom.reference.format.q4_0 import Q4_0
from axiom.reference.format.q4_1 import Q4_1
from axiom.reference.format.q4_k import Q4_K
from axiom.reference.format.q5_0 import Q5_0
from axiom.reference.format.q5_1 import Q5_1
from axiom.reference.format.q5_k import Q5_K
from axiom.reference.format.q6_k import Q6_K
from axiom.reference.format.q8_0 import Q8_0

_ALL = (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K)
FORMATS: dict[str, WeightFormat] = {cls.name: cls() for cls in _ALL}


def format_named(name: str) -> WeightFormat:
    """The format of that GGUF name; ValueError lists the names there are."""
    if name not in FORMATS:
        raise ValueError(f"no weight format is named {name!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


__all__ = ["FORMATS", "WeightFormat", "format_named"]
