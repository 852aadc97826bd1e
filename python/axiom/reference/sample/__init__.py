"""From logits to a token: the numpy twin of `axiom_core::sample`; `docs/sampling.md` is the normative text."""

from axiom.reference.sample.chain import Sampler
from axiom.reference.sample.parameters import Parameters

__all__ = ["Parameters", "Sampler"]
