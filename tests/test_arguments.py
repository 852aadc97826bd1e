"""Wrong arguments are refused under their names, and numbers of numpy are numbers."""

from __future__ import annotations

import copy
import os
import pickle
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import axiom
from axiom.body import Backend
from tests.backends import ENGINES
from tests.models import SMALL

MODEL = SMALL | {"n_layer": 1, "n_ctx": 64}


@pytest.fixture(scope="module")
def runtime(random_model: Callable[..., Path]) -> Iterator[axiom.Runtime]:
    with axiom.Runtime(random_model(**MODEL), backend="reference") as opened:
        yield opened


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_ctx": "2"}, "n_ctx: expected an integer, got '2'"),
        ({"n_ctx": True}, "n_ctx: expected an integer, got True"),
        ({"n_ctx": 2.5}, "n_ctx: expected an integer, got 2.5"),
        ({"threads": "2"}, "threads: expected an integer, got '2'"),
        ({"n_seq_max": [1]}, r"n_seq_max: expected an integer, got \[1\]"),
        ({"speculate": "no"}, "speculate: expected True or False, got 'no'"),
        ({"paranoid": 1}, "paranoid: expected True or False, got 1"),
        ({"kernels": 5}, "kernels: expected the name of a kernel table or None, got 5"),
        ({"on_load": 5}, "on_load: expected a function or None, got 5"),
    ],
)
def test_wrong_types_of_a_runtime_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        axiom.Runtime(**options)


@pytest.mark.parametrize("model", [5, b"model.gguf", True, [], {}])
def test_a_model_that_is_no_path_is_named(model: Any) -> None:
    with pytest.raises(TypeError, match="model: expected the path of a file"):
        axiom.Runtime(model)


@pytest.mark.parametrize("threads", [10**30, 1 << 64, 100_000])
def test_a_number_of_threads_may_be_any_integer(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads: expected 1 to 1024, got {threads}"):
        axiom.Runtime(threads=threads)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_eos": "no"}, "ignore_eos: expected True or False, got 'no'"),
        ({"receipt": "yes"}, "receipt: expected True or False, got 'yes'"),
        ({"stop": 5}, "stop: expected a string or a list of strings, got 5"),
        ({"stop": b"x"}, "stop: expected a string or a list of strings, got b'x'"),
        ({"stop_tokens": 5}, "stop_tokens: expected a list of tokens, got 5"),
        ({"stop_tokens": "ab"}, "stop_tokens: expected a list of tokens, got 'ab'"),
        ({"on_progress": 5}, "on_progress: expected a function or None, got 5"),
        ({"logit_bias": {"0": 1}}, "token of logit_bias: expected an integer, got '0'"),
        ({"logit_bias": {0: "1"}}, "logit_bias of token 0: expected a number, got '1'"),
    ],
)
def test_wrong_types_of_a_generation_are_named(runtime: axiom.Runtime, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        runtime.generate([1], max_tokens=1, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template_variables": [1]}, r"template_variables: expected a mapping from names to values, got \[1\]"),
        ({"template_variables": {1: 2}}, "template_variables: expected names that are strings, got 1"),
        ({"template_variables": {"template": ""}}, "template_variables: expected no 'template', which is an argument"),
        ({"template_variables": {"messages": []}}, "template_variables: expected no 'messages', which is an argument"),
        ({"template_variables": {"tools": []}}, "template_variables: expected no 'tools', which is an argument"),
        ({"template_variables": {"self": 1}}, "template_variables: expected no 'self', which is an argument"),
        ({"tools": "look_up"}, "tools: expected a list of mappings, .* got 'look_up'"),
        ({"tools": [print]}, "tools: expected a list of mappings"),
    ],
)
def test_wrong_variables_of_a_template_are_named(runtime: axiom.Runtime, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        runtime.chat([{"role": "user", "content": "Hi"}], template="Hi", **options)


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("option", ["temperature", "top_p", "top_k", "seed", "max_tokens", "timeout", "logprobs"])
@pytest.mark.parametrize("n_digits", [400, 5000])
def test_numbers_beyond_a_float_are_named(
    backend: Backend, option: str, n_digits: int, random_model: Callable[..., Path]
) -> None:
    number = -(10**n_digits)
    with axiom.Runtime(random_model(**MODEL), backend=backend, threads=1) as runtime:
        message = "expected a number that a float can hold, up to 1.8e308"
        with pytest.raises(ValueError, match=f"^{option}: {message}"):
            runtime.generate([1], **{option: number})
        with pytest.raises(ValueError, match=f"^logit_bias of token 4: {message}"):
            runtime.generate([1], logit_bias={4: Fraction(number)})
    with pytest.raises(ValueError, match=f"^n_seq_max: {message}"):
        axiom.Runtime(n_seq_max=number)


@pytest.mark.parametrize("prompt", [b"text", bytearray(b"text"), memoryview(b"text")])
def test_bytes_are_no_prompt(runtime: axiom.Runtime, prompt: Any) -> None:
    for call, name in ((runtime.generate, "prompt"), (runtime.stream, "prompt"), (runtime.score, "text")):
        with pytest.raises(TypeError, match=f"{name}: expected a string"):
            call(prompt)
    for rows in (runtime.logits, runtime.iter_logits):
        with pytest.raises(TypeError, match="tokens: expected a list of tokens"):
            rows(prompt)


@pytest.mark.parametrize(
    ("prompts", "error", "message"),
    [
        (["Hi", [1], [1] * 64], axiom.ContextLengthError, r"^prompt\[2\]: 65 tokens are needed"),
        (["Hi", [300]], ValueError, r"^prompt\[1\]: expected tokens from 0 to 299, got 300"),
        (["Hi", None], TypeError, r"^prompt\[1\]: expected a string or a list of tokens, got NoneType"),
        ([[]], ValueError, r"^prompt\[0\]: expected one token or more, got none; give one"),
        ([1] * 64, axiom.ContextLengthError, "^prompt: 65 tokens are needed"),
    ],
)
def test_which_prompt_of_a_list_is_wrong_is_said(
    runtime: axiom.Runtime, prompts: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        runtime.generate(prompts)
    with pytest.raises(axiom.ContextLengthError, match=r"^tokens: 65 tokens are needed"):
        runtime.iter_logits([1] * 65)
    with pytest.raises(TypeError, match=r"^tokens: expected a list of tokens, got 'abc'"):
        runtime.iter_logits("abc")  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers(runtime: axiom.Runtime) -> None:
    plain = runtime.generate([1, 5], max_tokens=4, temperature=0.5, top_k=7, seed=3, logit_bias={4: -1.0}, receipt=True)
    numpy = runtime.generate(
        np.array([1, 5]),
        max_tokens=np.int64(4),
        temperature=np.float32(0.5),
        top_k=np.int32(7),
        seed=np.uint64(3),
        logit_bias={np.int64(4): np.float32(-1.0)},
        stop=None,
        stop_tokens=None,
        receipt=True,
    )
    axiom.Runtime(runtime.gguf, backend="reference", n_ctx=np.int64(8), memory=np.int64(8 << 30)).close()
    assert (plain.receipt, plain.receipt.to_json()) == (numpy.receipt, numpy.receipt.to_json())


@pytest.mark.parametrize("n_tokens", ["2", 2.5, None, True])
def test_a_rewind_by_no_integer_is_named(runtime: axiom.Runtime, n_tokens: Any) -> None:
    with runtime.session() as session, pytest.raises(TypeError, match="n_tokens: expected an integer"):
        session.rewind(n_tokens)


@pytest.mark.parametrize("wrong", [None, 5, b"text"])
def test_what_a_session_cannot_take_is_named(runtime: axiom.Runtime, wrong: Any) -> None:
    with runtime.session() as session:
        session.append([3, 4, 5])
        for call in (session.generate, session.stream, session.append):
            with pytest.raises(TypeError, match="prompt: expected a string or a list of tokens, got "):
                call(wrong)
        for load in () if isinstance(wrong, bytes) else (session.load, runtime.load_session):
            with pytest.raises(TypeError, match=f"session: expected the path of a file, got {wrong}"):
                load(wrong)
        assert session.tokens == (3, 4, 5)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_holds_a_model_is_not_copied(runtime: axiom.Runtime, copied: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="a runtime cannot be pickled or copied; open the model again"):
        copied(runtime)
    with runtime.session() as session:
        assert repr(session).endswith("0 of 64 tokens)")
        with pytest.raises(TypeError, match=r"a session cannot be pickled or copied; fork\(\) it"):
            copied(session)
    assert repr(session).endswith("closed)")


def test_settings_cannot_be_changed_and_can_be_copied(runtime: axiom.Runtime) -> None:
    bias = {4: -1.0}
    settings = axiom.Sampling(temperature=0.5, logit_bias=bias, seed=3)
    bias[4] = 1.0
    for sampling in (settings, runtime.default_sampling, axiom.Sampling()):
        with pytest.raises(TypeError, match="does not support item assignment"):
            sampling.logit_bias[2] = -np.inf  # type: ignore[index]
        for same in (copy.copy(sampling), copy.deepcopy(sampling), pickle.loads(pickle.dumps(sampling))):
            assert (same, repr(same), hash(same)) == (sampling, repr(sampling), hash(sampling))
    assert repr(settings) == "Sampling(temperature=0.5, logit_bias={4: -1.0}, seed=3)"
    receipt = runtime.generate("Hi", max_tokens=1, sampling=settings, receipt=True).receipt
    assert pickle.loads(pickle.dumps(receipt)) == receipt


def test_advice_on_a_long_prompt_can_be_followed(random_model: Callable[..., Path]) -> None:
    path = random_model(**MODEL)
    small = axiom.Runtime(path, backend="reference", n_ctx=8)
    with small, pytest.raises(axiom.ContextLengthError, match="a larger n_ctx, up to the model's own 64"):
        small.generate([1] * 9)
    with axiom.Runtime(path, backend="reference") as whole:
        for call in (whole.generate, whole.score, whole.session().append):
            with pytest.raises(axiom.ContextLengthError, match="a model with a longer context"):
                call([1] * 66)


def test_what_takes_the_place_of_an_object_is_named(runtime: axiom.Runtime) -> None:
    receipt = runtime.generate("Hi", max_tokens=1, receipt=True).receipt
    assert receipt is not None
    with pytest.raises(
        TypeError, match=r"receipt: expected an axiom.Receipt, got 'r.json'; Receipt.load\(\) reads one"
    ):
        axiom.verify("r.json", runtime)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model: expected an axiom\.Runtime, got 'model\.gguf'"):
        axiom.verify(receipt, "model.gguf")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text: expected a string, got b'Hi'"):
        runtime.tokenizer.encode(b"Hi")  # type: ignore[arg-type]
    for wrong in (5, "12", b"12", bytearray(b"12")):
        with pytest.raises(TypeError, match=re.escape(f"ids: expected a list of tokens, got {wrong!r}")):
            runtime.tokenizer.decode(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text: expected a string, got 5"):
        runtime.tokenizer.token_id(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="add_special: expected True or False, got 'no'"):
        runtime.tokenizer.encode("Hi", add_special="no")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"gguf: expected an axiom\.GGUFFile .* got 'model\.gguf'"):
        axiom.ModelConfig.from_gguf("model.gguf")  # type: ignore[arg-type]


def test_what_a_pack_cannot_take_is_named(runtime: axiom.Runtime, tmp_path: Path) -> None:
    for model in (None, 5):
        with pytest.raises(TypeError, match=f"model: expected the path of a file, got {model}"):
            axiom.pack(model, tmp_path / "image", backend="reference")  # type: ignore[arg-type]
    model = runtime.gguf.path
    with pytest.raises(TypeError, match="threads: expected an integer, got 'a'"):
        axiom.pack(model, tmp_path / "image", backend="reference", threads="a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_progress: expected a function or None, got 5"):
        axiom.pack(model, tmp_path / "image", backend="reference", on_progress=5)  # type: ignore[arg-type]
    with pytest.raises(IsADirectoryError):
        axiom.pack(model, f"{tmp_path / 'folder'}{os.sep}", backend="reference")
    assert list(tmp_path.iterdir()) == []
    image = axiom.ImageFile(axiom.pack(model, tmp_path / "image", backend="reference"))
    with pytest.raises(ValueError, match="image: expected a GGUF, got an image"):
        axiom.pack(image, tmp_path / "again")  # type: ignore[arg-type]
    for file in (runtime.gguf, image):
        with pytest.raises(
            ValueError, match=rf"name: expected one of the {len(file.tensors)} tensors of .*, got 'none'"
        ):
            file.tensor_data("none")


def test_a_configuration_is_shown_without_its_tensors(runtime: axiom.Runtime) -> None:
    assert "n_layer=1, " in repr(runtime.config)
    assert repr(runtime.config).endswith(f", tensors=<{len(runtime.config.tensors)}>)")


def test_help_names_every_option_of_a_generation() -> None:
    from axiom.generation.sampling import Sampling

    named = {*axiom.GenerateOptions.__annotations__} - {*Sampling.field_names} | {"temperature", "top_k", "seed"}
    text = axiom.Runtime.generate.__doc__ or ""
    assert [name for name in named if f"`{name}`" not in text] == []
