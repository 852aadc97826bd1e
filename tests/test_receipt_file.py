"""Receipts as files: what they hold, that verification finds every difference, and that bad files are refused."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import axiom
import axiom.generation.receipt
from axiom.generation.receipt import Receipt
from axiom.runtime import Runtime
from axiom.verification import verify
from tests.backends import BACKENDS
from tests.models import SMALL

MODEL = SMALL | {"n_ctx": 96, "fmt": "Q4_0"}


@pytest.fixture(scope="module", params=BACKENDS)
def runtime(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[Runtime]:
    with axiom.Runtime(random_model(**MODEL), backend=request.param, threads=1) as opened:
        yield opened


@pytest.fixture
def receipt(runtime: Runtime) -> Receipt:
    got = runtime.generate(
        "Hello", max_tokens=12, seed=5, top_k=40, logit_bias={7: -float("inf"), 9: 0.5}, ignore_eos=True, receipt=True
    )
    assert got.receipt is not None
    assert got.receipt.output == got.tokens
    return got.receipt


def test_what_a_receipt_says(runtime: Runtime, receipt: Receipt) -> None:
    assert receipt.contract == "axiom-arithmetic-1 kv=f16"
    assert receipt.kv == "f16"
    assert receipt.model_sha256 == runtime.gguf.digest()
    assert receipt.model_name == runtime.gguf.path.name
    assert list(receipt.prompt) == runtime.tokenizer.encode("Hello")
    assert receipt.sampling.seed == 5
    assert len(receipt.links) == len(set(receipt.links)) == 12


def test_a_file_gives_the_same_receipt(receipt: Receipt, tmp_path: Path) -> None:
    receipt.save(tmp_path / "r.json")
    assert Receipt.load(tmp_path / "r.json") == receipt
    assert json.loads((tmp_path / "r.json").read_text())["sampling"]["logit_bias"] == {"7": "-inf", "9": 0.5}


def test_a_model_may_have_any_name(random_model: Callable[..., Path], tmp_path: Path) -> None:
    """A name that is no UTF-8 keeps nobody from writing the receipt, at the end of the text."""
    path = tmp_path / os.fsdecode(b"caf\xe9 \xc3\xa9.gguf")
    path.write_bytes(random_model(**MODEL).read_bytes())
    with axiom.Runtime(path, backend="reference") as runtime:
        receipt = runtime.generate("Hello", max_tokens=2, receipt=True).receipt
    assert receipt is not None
    receipt.save(tmp_path / "r.json")
    assert Receipt.load(tmp_path / "r.json") == receipt
    assert receipt.model_name == "caf\ufffd é.gguf"


def test_verification_finds_it_equal(runtime: Runtime, receipt: Receipt) -> None:
    calls: list[tuple[int, int]] = []
    outcome = verify(receipt, runtime, lambda n, of: calls.append((n, of)))
    assert outcome
    assert (outcome.equal, outcome.n_tokens, outcome.difference) == (True, 12, None)
    assert calls


def test_batches_streams_and_sessions_give_the_same_receipt(runtime: Runtime, receipt: Receipt) -> None:
    options: Any = {
        "max_tokens": 12, "seed": 5, "top_k": 40, "logit_bias": {7: -float("inf"), 9: 0.5}, "ignore_eos": True,
        "receipt": True,
    }  # fmt: skip
    batch = runtime.generate(["Other", "Hello", "x"], **options)
    assert batch[1].receipt == receipt
    with runtime.stream("Hello", **options) as stream:
        list(stream)
    assert stream.result.receipt == receipt
    with runtime.session() as session:
        for token in receipt.prompt:
            session.append([token])
        assert session.generate(**options).receipt == receipt


def test_every_change_is_found(runtime: Runtime, receipt: Receipt) -> None:
    def outcome(**changes: Any) -> tuple[int, str]:
        result = verify(dataclasses.replace(receipt, **changes), runtime)
        assert not result
        assert result.difference is not None
        return result.n_tokens, result.difference

    output, links = list(receipt.output), list(receipt.links)
    changed = [*output[:4], (output[4] + 1) % 300, *output[5:]]
    assert outcome(output=tuple(changed)) == (
        4,
        f"output token 4: the receipt has {changed[4]}, this run chose {output[4]}",
    )
    wrong = tuple([*links[:6], "0" * 64, *links[7:]])
    assert outcome(links=wrong) == (6, "output token 6: the logits before it differ in their bits")
    assert outcome(prompt=receipt.prompt[:-1])[0] == 0
    assert outcome(sampling=receipt.sampling.replace(seed=6))[0] == 0
    assert "model with SHA-256" in outcome(model_sha256="0" * 64)[1]
    assert outcome(contract="axiom-arithmetic-1 kv=f32")[1].startswith("the receipt is of 'axiom-arithmetic-1 kv=f32'")
    assert "token 300" in outcome(output=(*output[:-1], 300))[1]


def test_another_model_and_another_cache_are_found(receipt: Receipt, random_model: Callable[..., Path]) -> None:
    with axiom.Runtime(random_model(**{**MODEL, "seed": 1}), backend="reference") as other:
        assert "model with SHA-256" in str(verify(receipt, other).difference)
        # Even with the digest forged, the bits tell.
        forged = dataclasses.replace(receipt, model_sha256=other.model_sha256())
        assert not verify(forged, other)
    with axiom.Runtime(random_model(**MODEL), backend="reference", kv="f32") as other:
        assert "kv=f16" in str(verify(receipt, other).difference)


def test_bodies_verify_each_other(random_model: Callable[..., Path]) -> None:
    pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")
    with (
        axiom.Runtime(random_model(**MODEL), backend="reference") as reference,
        axiom.Runtime(random_model(**MODEL), backend="native", threads=2) as native,
    ):
        for one, other in ((reference, native), (native, reference)):
            made = one.generate("Hello there", max_tokens=20, seed=5, receipt=True).receipt
            assert made is not None
            assert verify(made, other)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": "other"}, "format: expected 'axiom-receipt-1', got 'other'"),
    "contract": ({"contract": 1}, "contract: expected a string, got 1"),
    "digest": ({"model_sha256": "xyz"}, "model_sha256: expected 64 hexadecimal digits"),
    "upper case": ({"model_sha256": "A" * 64}, "model_sha256"),
    "prompt": ({"prompt": "x"}, "prompt: expected a list"),
    "empty prompt": ({"prompt": []}, "prompt: expected one token or more"),
    "token": ({"prompt": [-1]}, r"prompt\[0\]: expected a token, got -1"),
    "token kind": ({"output": [True]}, r"output\[0\]: expected a token, got True"),
    "links": ({"links": []}, "links: expected 12, one for each output token, got 0"),
    "link": ({"links": [0]}, r"links\[0\]"),
    "sampling": ({"sampling": 0}, "sampling: expected an object"),
    "setting": ({"sampling": {"logit_bias": {}, "frobnicate": 1}}, "sampling: .*frobnicate"),
    "seed": ({"sampling": {"logit_bias": {}}}, "differs in .*seed"),
    "bias": ({"sampling": {"logit_bias": {"x": 1}, "seed": 1}}, "sampling"),
    "no bias": ({"sampling": {"seed": 1}}, "differs in .*logit_bias"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_fields_are_named(receipt: Receipt, name: str, tmp_path: Path) -> None:
    changes, message = BROKEN[name]
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**json.loads(receipt.to_json()), **changes}))
    with pytest.raises(ValueError, match=message) as caught:
        Receipt.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, '{"format": "axiom-receipt-1"}', "\ud800"])
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="receipt"):
        Receipt.from_json(text)


def test_the_extension_has_the_same_contract() -> None:
    native = pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")
    assert native.info()["contract"] == axiom.body.CONTRACT
