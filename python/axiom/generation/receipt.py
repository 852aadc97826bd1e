"""Receipts: a JSON file that says how a text was made, so exactly that anyone can make it again and compare.

A receipt holds the contract of the arithmetic, the digest of the model, the prompt, the sampling and the output, and
for every output token a link of a hash chain over all of that and over the bits of every logit so far
(docs/receipts.md). Because logits are the same bits on every machine, body, kernel table and thread count, a second
run anywhere gives the same links, or else the first link that differs names the token.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from axiom.body import Body, ReceiptChain
from axiom.engine import LogitRow
from axiom.files import checked_path, write_whole
from axiom.generation.sampling import Sampling

__all__ = ["FORMAT", "Receipt", "ReceiptRecorder", "begin_chain"]

FORMAT = "axiom-receipt-1"


@dataclass(frozen=True)
class Receipt:
    """How a text was made."""

    contract: str
    """Name of the arithmetic, and the cache format that is a part of it: "axiom-arithmetic-1 kv=f16"."""
    model_sha256: str
    """`GGUFFile.digest()` of the model, 64 hexadecimal digits."""
    model_name: str
    """File name of the model, for people; nothing depends on it."""
    prompt: tuple[int, ...]
    sampling: Sampling
    """With the seed."""
    output: tuple[int, ...]
    links: tuple[str, ...]
    """For each token of `output`, the digest of everything up to its logits, 64 hexadecimal digits."""

    @property
    def kv(self) -> str:
        """The cache format that the run used."""
        return self.contract.partition(" kv=")[2]

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as plain values, which `from_json` reads."""
        sampling = self.sampling.as_dict()
        # JSON has no infinity.
        bias = {
            str(token): value if math.isfinite(value) else str(value) for token, value in sampling["logit_bias"].items()
        }
        return {
            "format": FORMAT,
            "contract": self.contract,
            "model_sha256": self.model_sha256,
            "model_name": self.model_name,
            "sampling": {**sampling, "logit_bias": bias},
            "prompt": list(self.prompt),
            "output": list(self.output),
            "links": list(self.links),
        }

    def to_json(self) -> str:
        """Return the receipt as JSON."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the receipt to a file, whole or not at all, and over no model."""
        write_whole(path, [self.to_json().encode("utf-8")])

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """Read a receipt, checking all of it. Raises `ValueError` that says which field is wrong."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"receipt: not valid JSON: {error}") from error
        return _checked(fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Receipt:
        """Read a receipt from a file. Raises `ValueError` if it is not one."""
        content = checked_path(path, "receipt").read_bytes()
        try:
            return cls.from_json(content.decode("utf-8"))
        except UnicodeDecodeError:
            raise ValueError(f"{os.fspath(path)}: receipt: not valid JSON: it is no text in UTF-8") from None
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error


class ReceiptRecorder:
    """Grows the chain of one generation, and makes the receipt at its end."""

    def __init__(self, receipt: Receipt, body: Body, n_vocab: int):
        """Begin the chain of `receipt`, which has no output yet, and the name of the model as the system has it."""
        # A name may be any bytes; a receipt is a text.
        name = os.fsencode(receipt.model_name).decode("utf-8", "replace")
        self._receipt = replace(receipt, model_name=name)
        self._chain = begin_chain(receipt, body, n_vocab)
        self._output: list[int] = []
        self._links: list[str] = []

    def record(self, position: int, token: int, logits: LogitRow) -> None:
        """Append the choice of `token` and the logits that it was chosen from."""
        self._links.append(self._chain.update(position, token, logits).hex())
        self._output.append(token)

    def receipt(self) -> Receipt:
        """Return the receipt of everything recorded."""
        return replace(self._receipt, output=tuple(self._output), links=tuple(self._links))


def begin_chain(receipt: Receipt, body: Body, n_vocab: int) -> ReceiptChain:
    """Return the chain of `receipt` before its first output token."""
    sampling = body.sampler(n_vocab, **receipt.sampling.as_dict()).canonical_bytes()
    return body.receipt_chain(receipt.contract, bytes.fromhex(receipt.model_sha256), receipt.prompt, sampling)


def _checked(fields: Any) -> Receipt:
    if not isinstance(fields, dict):
        raise ValueError(f"receipt: expected a JSON object, got {type(fields).__name__}")
    if fields.get("format") != FORMAT:
        raise ValueError(
            f"receipt: format: expected {FORMAT!r}, got {fields.get('format')!r}; it may be of another version"
        )
    receipt = Receipt(
        contract=_text(fields, "contract"),
        model_sha256=_digest("model_sha256", fields.get("model_sha256")),
        model_name=_text(fields, "model_name"),
        prompt=_tokens(fields, "prompt"),
        sampling=_sampling(fields.get("sampling")),
        output=_tokens(fields, "output"),
        links=tuple(_digest(f"links[{i}]", link) for i, link in enumerate(_list(fields, "links"))),
    )
    if not receipt.prompt:
        raise ValueError("receipt: prompt: expected one token or more, got none")
    if len(receipt.links) != len(receipt.output):
        raise ValueError(
            f"receipt: links: expected {len(receipt.output)}, one for each output token, got {len(receipt.links)}"
        )
    return receipt


def _sampling(value: Any) -> Sampling:
    if not isinstance(value, dict):
        raise ValueError(f"receipt: sampling: expected an object, got {value!r}"[:200])
    names = set(Sampling.field_names)
    if value.keys() != names:
        differ = ", ".join(sorted(value.keys() ^ names))
        raise ValueError(f"receipt: sampling: expected every setting and no other, differs in {differ}"[:200])
    settings = dict(value)
    bias = settings["logit_bias"]
    if not isinstance(bias, dict):
        raise ValueError(f"receipt: sampling: logit_bias: expected an object, got {bias!r}"[:200])
    try:
        settings["logit_bias"] = {int(token): float(number) for token, number in bias.items()}
        sampling = Sampling(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"receipt: sampling: {error}") from error
    if sampling.seed is None:
        raise ValueError("receipt: sampling: expected a seed, got none")
    return sampling


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"receipt: {name}: expected a string, got {value!r}"[:200])
    return value


def _digest(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(f"receipt: {name}: expected 64 hexadecimal digits, got {value!r}"[:200])
    return value


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise ValueError(f"receipt: {name}: expected a list, got {value!r}"[:200])
    return value


def _tokens(fields: dict[str, Any], name: str) -> tuple[int, ...]:
    tokens: Sequence[Any] = _list(fields, name)
    for i, token in enumerate(tokens):
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < 1 << 32:
            raise ValueError(f"receipt: {name}[{i}]: expected a token, got {token!r}"[:200])
    return tuple(tokens)
