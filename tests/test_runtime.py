"""`axiom.Runtime`: what its calls return and refuse, on every body."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import axiom
from axiom.body import Backend
from axiom.chat import ChatTemplate
from axiom.generation.loop import CHUNK_TOKENS
from axiom.hardware import MemoryBudget
from axiom.runtime import Runtime
from tests.backends import BACKENDS
from tests.models import SMALL, TEXTUAL

pytestmark = pytest.mark.usefixtures("no_sequence_is_left_open")


# Generation


def test_a_completion_has_all_its_parts(runtime: Runtime) -> None:
    got = runtime.generate("Hello there", max_tokens=12, seed=7, logprobs=2)
    assert got.finish_reason in ("length", "eos")
    assert got.seed == 7
    prompt = runtime.tokenizer.encode("Hello there")
    assert got.usage.prompt_tokens == len(prompt)
    assert got.usage.completion_tokens == len(got.tokens) <= 12
    assert got.usage.total_tokens == len(prompt) + len(got.tokens)
    assert got.timings.prefill_s > 0
    assert got.timings.prefill_tokens == len(prompt)
    assert got.timings.decode_tokens_per_s > 0
    assert got.receipt is None
    assert str(got) == got.text == runtime.tokenizer.decode(got.tokens, at_start=False)
    assert got.logprobs is not None
    assert [entry.token for entry in got.logprobs] == list(got.tokens)
    assert all(len(entry.top) == 2 for entry in got.logprobs)


def test_a_completion_can_be_written_as_json(runtime: Runtime) -> None:
    got = runtime.generate("Hello there", max_tokens=3, seed=7, logprobs=2, logit_bias={5: -math.inf}, receipt=True)
    plain = json.loads(json.dumps(got.as_dict(), allow_nan=False))
    assert (plain["text"], plain["tokens"], plain["seed"]) == (got.text, list(got.tokens), 7)
    assert plain["finish_reason"] == got.finish_reason
    assert plain["usage"]["total_tokens"] == got.usage.total_tokens
    assert plain["timings"]["tokens_per_pass"] == got.timings.tokens_per_pass
    assert got.logprobs is not None
    assert [(e["token"], e["logprob"]) for e in plain["logprobs"]] == [(e.token, e.logprob) for e in got.logprobs]
    assert [(e["token"], e["logprob"]) for e in plain["logprobs"][0]["top"]] == list(got.logprobs[0].top)
    assert axiom.Receipt.from_json(json.dumps(plain["receipt"])) == got.receipt
    bare = runtime.generate("Hello there", max_tokens=3, seed=7).as_dict()
    assert [name for name in plain if name not in bare] == ["logprobs", "receipt"]


def test_same_seed_same_tokens_and_another_seed_others(runtime: Runtime) -> None:
    first = runtime.generate("Hello", max_tokens=20, seed=1, ignore_eos=True)
    assert runtime.generate("Hello", max_tokens=20, seed=1, ignore_eos=True).tokens == first.tokens
    assert runtime.generate("Hello", max_tokens=20, seed=2, ignore_eos=True).tokens != first.tokens


def test_a_seed_is_drawn_and_reported(runtime: Runtime) -> None:
    drawn = runtime.generate("Hello", max_tokens=8)
    assert runtime.generate("Hello", max_tokens=8, seed=drawn.seed).tokens == drawn.tokens


def test_greedy_is_the_argmax_of_the_logits(runtime: Runtime) -> None:
    prompt = runtime.tokenizer.encode("Hello")
    got = runtime.generate(prompt, max_tokens=6, temperature=0.0, ignore_eos=True)
    history = list(prompt)
    for token in got.tokens:
        assert token == int(np.argmax(runtime.logits(history)[-1]))
        history.append(token)


def test_logprobs_are_those_of_the_unmodified_logits(runtime: Runtime) -> None:
    prompt = runtime.tokenizer.encode("Hello")
    got = runtime.generate(prompt, max_tokens=3, seed=3, temperature=0.3, top_k=5, logprobs=4, ignore_eos=True)
    rows = runtime.logits([*prompt, *got.tokens])[len(prompt) - 1 :].astype(np.float64)
    assert got.logprobs is not None
    for entry, row in zip(got.logprobs, rows, strict=False):
        expected = row - row.max() - math.log(np.exp(row - row.max()).sum())
        assert entry.logprob == pytest.approx(expected[entry.token], abs=1e-9)
        assert [token for token, _ in entry.top] == np.argsort(-row, kind="stable")[:4].tolist()


def test_a_batch_gives_what_each_prompt_gives_alone(runtime: Runtime) -> None:
    prompts = ["Hello", "A", "A longer prompt, of some more words", "", "x y z", "Hello", "1 2 3"]
    alone = [runtime.generate(prompt, max_tokens=9, seed=5) for prompt in prompts]
    together = runtime.generate(prompts, max_tokens=9, seed=5)
    assert [(c.tokens, c.text, c.finish_reason) for c in together] == [
        (c.tokens, c.text, c.finish_reason) for c in alone
    ]


def test_prompts_may_be_tokens(runtime: Runtime) -> None:
    tokens = runtime.tokenizer.encode("Hello")
    expected = runtime.generate("Hello", max_tokens=5, seed=1).tokens
    assert runtime.generate(tokens, max_tokens=5, seed=1).tokens == expected
    assert runtime.generate(np.array(tokens), max_tokens=5, seed=1).tokens == expected
    assert [c.tokens for c in runtime.generate([tokens, "Hello"], max_tokens=5, seed=1)] == [expected, expected]
    assert runtime.generate([], max_tokens=5) == []


def test_end_of_generation_ends_and_may_be_ignored(runtime: Runtime) -> None:
    eos = runtime.tokenizer.eos_id
    assert eos is not None
    got = runtime.generate("Hello", max_tokens=5, logit_bias={eos: 1e6}, temperature=0.0)
    assert (got.tokens, got.text, got.finish_reason) == ((eos,), "", "eos")
    on = runtime.generate("Hello", max_tokens=5, logit_bias={eos: 1e6}, temperature=0.0, ignore_eos=True)
    assert (on.tokens, on.finish_reason) == ((eos,) * 5, "length")


def test_stop_tokens(runtime: Runtime) -> None:
    free = runtime.generate("Hello", max_tokens=12, seed=1, ignore_eos=True)
    stop = free.tokens[5]
    n = free.tokens.index(stop)
    got = runtime.generate("Hello", max_tokens=12, seed=1, ignore_eos=True, stop_tokens=[stop])
    assert (got.tokens, got.finish_reason) == (free.tokens[: n + 1], "stop")
    assert got.text == runtime.tokenizer.decode(free.tokens[:n], at_start=False)


def test_stop_strings(runtime: Runtime) -> None:
    free = runtime.generate("Hello", max_tokens=30, seed=1, ignore_eos=True)
    assert len(free.text) > 12
    stop = free.text[8:11]
    at = free.text.index(stop)
    got = runtime.generate("Hello", max_tokens=30, seed=1, ignore_eos=True, stop=stop)
    assert (got.text, got.finish_reason) == (free.text[:at], "stop")
    assert got.tokens == free.tokens[: len(got.tokens)]
    # What only begins a stop string at the end is given out after all.
    never = runtime.generate("Hello", max_tokens=30, seed=1, ignore_eos=True, stop=[free.text[-2:] + "\0", "\0\0"])
    assert (never.text, never.finish_reason) == (free.text, "length")


def test_stop_strings_and_tokens_may_come_from_anything(runtime: Runtime) -> None:
    options: dict[str, Any] = {"max_tokens": 8, "seed": 1, "ignore_eos": True}
    plain = runtime.generate("Hello", **options)
    token, text = plain.tokens[3], plain.text[-1]
    expected = runtime.generate(["Hello"] * 2, stop=[text], stop_tokens=[token], **options)
    got = runtime.generate(["Hello"] * 2, stop=iter([text]), stop_tokens=iter([token]), **options)
    assert [c.tokens for c in got] == [c.tokens for c in expected]
    assert got[0].tokens == got[1].tokens != plain.tokens


def test_the_context_end_is_said(runtime: Runtime) -> None:
    got = runtime.generate("Hello", seed=1, ignore_eos=True)
    assert got.finish_reason == "context"
    assert got.usage.total_tokens == runtime.n_ctx


@pytest.mark.parametrize("backend", BACKENDS)
def test_positions_whose_angles_are_beyond_the_arithmetic_are_refused(
    random_model: Callable[..., Path], backend: Backend
) -> None:
    path = random_model(**SMALL | {"n_ctx": 400}, rope_scaling={"type": "linear", "factor": 1e-4})
    with pytest.raises(ValueError, match="n_ctx: expected a number from 1 to 210, got 211"):
        axiom.Runtime(path, backend=backend, n_ctx=211)
    with axiom.Runtime(path, backend=backend, n_ctx=210) as runtime:
        assert np.isfinite(runtime.logits([5] * 210)).all()


def test_progress_of_a_prompt(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = runtime.generate(list(range(3, 93)), max_tokens=2, seed=1).tokens
    monkeypatch.setattr("axiom.generation.loop.CHUNK_TOKENS", 16)
    calls: list[tuple[int, int]] = []
    got = runtime.generate(list(range(3, 93)), max_tokens=2, seed=1, on_progress=lambda n, of: calls.append((n, of)))
    assert calls == [(16, 90), (32, 90), (48, 90), (64, 90), (80, 90), (90, 90)]
    assert got.tokens == expected


def test_the_models_own_sampling_is_the_default(random_model: Callable[..., Path]) -> None:
    path = random_model(**TEXTUAL, metadata={"general.sampling.temp": 0.25, "general.sampling.top_k": 7})
    with axiom.Runtime(path, backend="reference") as runtime:
        assert runtime.default_sampling == axiom.Sampling(temperature=0.25, top_k=7)
        request = runtime.checked_request({"top_k": 3})
        assert (request.sampling.temperature, request.sampling.top_k) == (0.25, 3)
        request = runtime.checked_request({"sampling": axiom.Sampling(min_p=0.5), "top_k": 3})
        assert request.sampling.replace(seed=None) == axiom.Sampling(min_p=0.5, top_k=3)
    # In a header, any number below 1 keeps all tokens.
    assert axiom.Sampling.from_metadata({"general.sampling.top_k": -1}) == axiom.Sampling()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("temp", float("nan"), "temperature must be finite and at least 0"),
        ("top_k", float("nan"), "general.sampling.top_k: expected a whole number, got nan"),
        ("top_k", float("inf"), "general.sampling.top_k: expected a whole number, got inf"),
        ("top_p", "much", "general.sampling.top_p: expected a number, got 'much'"),
        ("penalty_repeat", 0.0, "repeat_penalty must be from 0.001 to 1000"),
    ],
)
def test_a_models_own_sampling_that_cannot_be_is_refused_at_the_door(
    key: str, value: Any, message: str, random_model: Callable[..., Path]
) -> None:
    path = random_model(**TEXTUAL, metadata={f"general.sampling.{key}": value})
    with pytest.raises(
        axiom.ModelFormatError, match=rf"gguf: general.sampling: .*{message}.*; the metadata are damaged"
    ):
        axiom.Runtime(path, backend="reference")


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_tokens": 0}, ValueError, "max_tokens"),
    ({"max_tokens": 1.5}, TypeError, "max_tokens"),
    ({"max_tokens": True}, TypeError, "max_tokens"),
    ({"temperature": -1.0}, ValueError, "temperature"),
    ({"temperature": float("nan")}, ValueError, "temperature"),
    ({"temperature": "hot"}, TypeError, "temperature"),
    ({"top_k": 1.5}, TypeError, "top_k"),
    ({"top_k": -1}, ValueError, "top_k"),
    ({"top_p": 1.5}, ValueError, "top_p"),
    ({"seed": -1}, ValueError, "seed"),
    ({"seed": 1 << 64}, ValueError, "seed"),
    ({"seed": "x"}, TypeError, "seed"),
    ({"stop": ""}, ValueError, "stop"),
    ({"stop": [1]}, TypeError, "stop"),
    ({"stop_tokens": [400]}, ValueError, "stop_tokens: expected tokens from 0 to 399, got 400"),
    ({"logprobs": 401}, ValueError, "logprobs"),
    ({"logit_bias": {400: 1.0}}, ValueError, "logit_bias"),
    ({"logit_bias": [1]}, TypeError, "logit_bias"),
    ({"sampling": {"top_k": 1}}, TypeError, "sampling"),
    ({"frobnicate": 1}, TypeError, "no option 'frobnicate'; the options are max_tokens, sampling"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_bad_options_are_named(runtime: Runtime, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        runtime.generate("Hello", **options)


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        (3, TypeError, "expected a string, a list of tokens, or a list of these, got int"),
        (b"x", TypeError, "got bytes"),
        ([400], ValueError, "prompt: expected tokens from 0 to 399, got 400"),
        ([-1], ValueError, "got -1"),
        ([1.5], TypeError, "got 1.5"),
        ([True], TypeError, "got True"),
        ([["x"]], TypeError, "got 'x'"),
        ([[]], ValueError, "expected one token or more"),
        ([None], TypeError, "got None"),
    ],
)
def test_bad_prompts_are_named(runtime: Runtime, prompt: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        runtime.generate(prompt, max_tokens=1)


def test_an_over_long_prompt_is_an_error_with_both_numbers(runtime: Runtime) -> None:
    assert runtime.generate([5] * 95, max_tokens=9).finish_reason == "context"
    with pytest.raises(
        axiom.ContextLengthError,
        match=r"97 tokens are needed, .* but the context has 96 positions; .* use a model with a longer",
    ):
        runtime.generate([5] * 96)
    with pytest.raises(axiom.ContextLengthError, match="1001 tokens are needed"):
        runtime.generate(["x", [5] * 1000])
    with pytest.raises(axiom.ContextLengthError):
        runtime.logits([5] * 97)
    assert runtime.logits([5] * 96).shape == (96, 400)


# Chat


def test_render_and_chat(runtime: Runtime) -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]
    rendered = runtime.render(messages)
    assert rendered == "<|system|>S</s><|user|>Hi</s>"
    tokens = runtime.chat_tokens(rendered)
    bos, eos = runtime.tokenizer.bos_id, runtime.tokenizer.eos_id
    assert tokens[0] == bos
    assert tokens.count(eos) == 2
    assert runtime.chat_tokens("<s>x")[:2] != [bos, bos]
    answer = runtime.chat(messages, max_tokens=8, seed=1)
    assert answer.tokens == runtime.generate(tokens, max_tokens=8, seed=1).tokens
    assert "".join(runtime.chat_stream(messages, max_tokens=8, seed=1)) == answer.text


def test_a_template_may_be_given(runtime: Runtime) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    assert runtime.render(messages, template="{{ messages[0].content }}{{ x }}", x=3) == "Hi3"
    other = runtime.chat(messages, template="{{ y }}", template_variables={"y": "Hello"}, max_tokens=3, seed=1)
    assert other.tokens == runtime.generate("Hello", max_tokens=3, seed=1).tokens
    with pytest.raises(axiom.TemplateError, match="has the chat templates default, and none named 'x'"):
        runtime.render(messages, template="x")


def test_tools_reach_the_template_or_are_refused(runtime: Runtime) -> None:
    messages, tools = [{"role": "user", "content": "Hi"}], [{"name": "look_up"}]
    template = "{% for tool in tools or [] %}{{ tool.name }}: {% endfor %}{{ messages[0].content }}"
    assert runtime.render(messages, template=template, tools=tools) == "look_up: Hi"
    assert runtime.render(messages, template=template, tools=[]) == runtime.render(messages, template=template) == "Hi"
    answer = runtime.chat(messages, template=template, tools=tools, max_tokens=3, seed=1)
    assert answer.tokens == runtime.generate("look_up: Hi", max_tokens=3, seed=1).tokens
    with pytest.raises(axiom.TemplateError, match="the chat template leaves tools out of the prompt"):
        runtime.chat_stream(messages, tools=tools)


def test_few_templates_stay_compiled(runtime: Runtime) -> None:
    messages, mark = [{"role": "user", "content": "Hi"}], "{# one of many #}"
    for i in range(40):
        assert runtime.render(messages, template=f"{mark}{i}") == str(i)
    gc.collect()
    kept = [o for o in gc.get_objects() if isinstance(o, ChatTemplate) and o.source.startswith(mark)]
    assert 1 <= len(kept) <= 16


def test_a_model_without_template_says_so(random_model: Callable[..., Path]) -> None:
    with (
        axiom.Runtime(random_model(**TEXTUAL), backend="reference") as runtime,
        pytest.raises(axiom.TemplateError, match="has no chat template; give template="),
    ):
        runtime.chat([{"role": "user", "content": "Hi"}])


# Probabilities


def test_logits_are_the_same_in_chunks_and_at_once(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = list(range(5, 75))
    whole = runtime.logits(tokens)
    assert whole.dtype == np.float32
    assert whole.shape == (70, 400)
    monkeypatch.setattr("axiom.loaded_model.CHUNK_TOKENS", 7)
    assert np.array_equal(runtime.logits(tokens), whole)
    assert np.array_equal(np.array(list(runtime.iter_logits(tokens, first_row=30))), whole[30:])
    assert runtime.logits([]).shape == (0, 400)


def test_logits_that_no_memory_holds_are_refused(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axiom.loaded_model.memory_budget", lambda _: MemoryBudget(1000, None))
    with pytest.raises(axiom.MemoryBudgetError, match="take 4800 bytes, but 0 are left; use iter_logits"):
        runtime.logits([5, 6, 7])


def test_score(runtime: Runtime) -> None:
    score = runtime.score("Hello there")
    tokens = runtime.tokenizer.encode("Hello there")
    assert list(score.tokens) == tokens
    rows = runtime.logits(tokens).astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    expected = [logprobs[i, token] for i, token in enumerate(tokens[1:])]
    assert score.logprobs == pytest.approx(expected, abs=1e-9)
    assert score.total_logprob == pytest.approx(sum(expected))
    assert score.perplexity == pytest.approx(math.exp(-sum(expected) / len(expected)))
    assert runtime.score(tokens) == score
    with pytest.raises(ValueError, match="expected two tokens or more"):
        runtime.score([1])


# Life


def test_a_closed_runtime_says_so(random_model: Callable[..., Path]) -> None:
    runtime = axiom.Runtime(random_model(**TEXTUAL), backend="reference")
    session = runtime.session()
    stream = runtime.stream("Hello", ignore_eos=True)
    next(stream)
    assert "n_ctx=96" in repr(runtime)
    runtime.close()
    runtime.close()
    assert "closed" in repr(runtime)
    for call in (
        lambda: runtime.generate("Hello"),
        lambda: runtime.logits([1]),
        lambda: runtime.session(),
        lambda: runtime.telemetry,
        lambda: session.append("x"),
        lambda: list(stream),
    ):
        with pytest.raises(RuntimeError, match=r"the runtime is closed; open another with axiom.Runtime\(model\)"):
            call()
    session.close()
    # What needs no engine still works.
    assert runtime.tokenizer.encode("x")


def test_memory_is_freed(random_model: Callable[..., Path]) -> None:
    runtime = axiom.Runtime(random_model(**TEXTUAL), backend="reference")
    runtime.generate("Hello", max_tokens=2)
    engine = weakref.ref(runtime.engine._engine)
    runtime.close()
    del runtime
    gc.collect()
    assert engine() is None


def test_telemetry(runtime: Runtime) -> None:
    before = runtime.telemetry["n_pass"]
    runtime.generate("Hello", max_tokens=3, ignore_eos=True)
    after = runtime.telemetry
    assert after["n_pass"] == before + 3
    assert after["info"]["n_ctx"] == 96


def test_loading_reports_progress_and_takes_an_open_file(random_model: Callable[..., Path]) -> None:
    calls: list[tuple[int, int]] = []
    file = axiom.GGUFFile(random_model(**TEXTUAL))
    with axiom.Runtime(file, backend="reference", on_load=lambda n, of: calls.append((n, of))) as runtime:
        assert runtime.gguf is file
        assert calls[-1][0] == calls[-1][1] > 0


def test_a_model_without_vocabulary_takes_tokens(random_model: Callable[..., Path]) -> None:
    with axiom.Runtime(random_model(**TEXTUAL, tokenizer="none"), backend="reference") as runtime:
        got = runtime.generate([1, 2, 3], max_tokens=4, seed=1)
        assert (len(got.tokens), got.text) == (4, "")
        with pytest.raises(axiom.UnsupportedModelError, match="expected a vocabulary, got none"):
            runtime.generate("Hello")


def test_what_is_not_finite_is_an_error(random_model: Callable[..., Path], tmp_path: Path) -> None:
    from axiom.model_file.model_config import ModelConfig

    path = tmp_path / "damaged.gguf"
    path.write_bytes(random_model(**TEXTUAL).read_bytes())
    file = axiom.GGUFFile(path)
    assert ModelConfig.from_gguf(file)
    info = file.tensors["output_norm.weight"]
    with path.open("r+b") as raw:
        raw.seek(info.offset)
        raw.write(np.full(4, np.nan, dtype="<f4").tobytes())
    with (
        axiom.Runtime(path, backend="reference") as runtime,
        pytest.raises(axiom.NumericError, match="finite"),
    ):
        runtime.generate("Hello", max_tokens=1)


def test_both_bodies_choose_the_same_tokens(random_model: Callable[..., Path]) -> None:
    pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")
    path = random_model(**TEXTUAL)
    options: dict[str, Any] = {
        "max_tokens": 40, "seed": 11, "top_k": 50, "top_p": 0.95, "min_p": 0.01, "repeat_penalty": 1.1, "logprobs": 3,
        "receipt": True,
    }  # fmt: skip
    results = []
    for backend in ("reference", "native"):
        with axiom.Runtime(path, backend=backend) as runtime:
            results.append(runtime.generate(["Hello there", "Once"], **options))
    for reference, native in zip(*results, strict=True):
        assert reference.tokens == native.tokens
        assert reference.text == native.text
        assert reference.logprobs == native.logprobs
        assert reference.receipt == native.receipt


def test_chunks_are_longer_than_any_test_prompt() -> None:
    """The tests above that set a shorter one mean something only then."""
    assert CHUNK_TOKENS > 96
