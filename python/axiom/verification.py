"""Making the text of a receipt again, on any body, and comparing every bit on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from axiom.generation.receipt import Receipt, begin_chain
from axiom.loaded_model import LoadedModel

__all__ = ["Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """The outcome of making a text again."""

    equal: bool
    n_tokens: int
    """Output tokens that were found equal, in their logits and in the choice."""
    difference: str | None
    """What differs first, in words, or None."""

    def __bool__(self) -> bool:
        """Return whether everything was equal."""
        return self.equal


def verify(receipt: Receipt, model: LoadedModel, on_progress: Callable[[int, int], None] | None = None) -> Verification:
    """Compute again what `receipt` describes, and compare every choice and the bits of every logit.

    `model` must hold the receipt's model, with the same cache format; its body, kernels and threads may be any.
    """
    if not isinstance(receipt, Receipt):
        raise TypeError(
            f"receipt: expected an axiom.Receipt, got {receipt!r:.80}; Receipt.load() reads one from a file"
        )
    if not isinstance(model, LoadedModel):
        raise TypeError(f"model: expected an axiom.Runtime, got {model!r:.80}")
    if receipt.contract != model.contract:
        return Verification(False, 0, f"the receipt is of {receipt.contract!r}, this runtime of {model.contract!r}")
    if receipt.model_sha256 != model.model_sha256(on_progress):
        return Verification(
            False,
            0,
            f"the receipt is of a model with SHA-256 {receipt.model_sha256}, this one has {model.model_sha256()}",
        )
    n_vocab = model.config.n_vocab
    for name, tokens in (("prompt", receipt.prompt), ("output", receipt.output)):
        wrong = [token for token in tokens if token >= n_vocab]
        if wrong:
            return Verification(False, 0, f"{name} has token {wrong[0]}, but the model's tokens are 0 to {n_vocab - 1}")
    try:
        sampler = model.body.sampler(n_vocab, **receipt.sampling.as_dict())
    except ValueError as error:
        # Not a difference: no run can have had such settings.
        raise ValueError(f"receipt: sampling: {error}") from None
    chain = begin_chain(receipt, model.body, n_vocab)
    history = [*receipt.prompt, *receipt.output]
    n_prompt = len(receipt.prompt)
    rows = model.iter_logits(history[:-1], first_row=n_prompt - 1, on_progress=on_progress)
    for i, logits in enumerate(rows):
        position = n_prompt + i
        token = sampler.sample(logits, history[:position], position)
        if token != history[position]:
            return Verification(
                False, i, f"output token {i}: the receipt has {history[position]}, this run chose {token}"
            )
        if chain.update(position, token, logits).hex() != receipt.links[i]:
            return Verification(False, i, f"output token {i}: the logits before it differ in their bits")
    return Verification(True, len(receipt.output), None)
