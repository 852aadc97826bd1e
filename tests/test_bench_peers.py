"""The comparison bench without any engine: its ratios, its order, its protocol and its report."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from benches.peers import engines, ik_llama, machine, measure, report, worker
from benches.peers.measure import Case, Comparison, Run


class Counter:
    """An engine whose logits count the tokens that it was given."""

    version = "counter 1"

    def __init__(self, model, n_threads, n_ctx, kv):
        self.n_ctx, self.n_tokens = n_ctx, 0

    def reset(self):
        self.n_tokens = 0

    def prefill(self, tokens):
        if len(tokens) > self.n_ctx:
            raise ValueError("too long")
        self.n_tokens += len(tokens)
        return np.array([self.n_tokens, 1], np.float32)

    def decode(self, token):
        return self.prefill([token])


def run(*seconds, idle=0.0, foreign=0.0):
    return Run(list(seconds), sum(seconds), idle, foreign)


def test_ratios_are_taken_within_pairs():
    comparison = Comparison(Case("decode", 10), 1, {})
    comparison.runs = {"ours": [run(1.0), run(4.0)], "theirs": [run(2.0), run(2.0)]}
    assert comparison.rates("ours") == [10.0, 2.5]
    assert comparison.ratios("ours", "theirs") == [2.0, 0.5]
    assert measure.spread([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)


def test_a_worker_answers_each_request_and_survives_a_bad_one(monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "counter", Counter)
    requests = [
        {"do": "load", "engine": "counter", "model": "m", "n_threads": 1, "n_ctx": 4, "kv": "f16"},
        {"do": "prefill", "tokens": [1, 2, 3, 4, 5]},
        {"do": "decode", "prompt": [1], "tokens": [2, 3, 4]},
        {"do": "dance"},
    ]
    replies = io.StringIO()
    worker.serve(io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), replies)
    loaded, too_long, decoded, unknown = map(json.loads, replies.getvalue().splitlines())
    assert loaded["version"] == "counter 1"
    assert too_long == {"error": "ValueError: too long"}
    assert len(decoded["seconds"]) == 3
    assert "no such request: dance" in unknown["error"]


class Recorder:
    """A worker that notes when it was asked."""

    log: list[str] = []  # noqa: RUF012

    def __init__(self, engine, *settings):
        self.engine, self.version, self.load_s = engine, engine, 0.0

    def ask(self, do, **request):
        if do == "logits":
            return {"logits": "AACAPwAAAEA="}  # [1.0, 2.0]
        Recorder.log.append(self.engine)
        return {"seconds": [1.0]}

    def cpu_s(self):
        return 0.0

    def close(self):
        Recorder.log.append("closed")


def test_pairs_alternate_in_order_after_one_unrecorded_run_of_each(monkeypatch):
    monkeypatch.setattr(measure, "Worker", Recorder)
    Recorder.log.clear()
    (comparison,) = measure.compare(
        ["a", "b"], "m", [Case("prefill", 8)], n_threads=1, n_pairs=3, n_vocab=100, kv="f16"
    )
    assert Recorder.log == ["a", "b", "a", "b", "b", "a", "a", "b", "closed", "closed"]
    assert [len(runs) for runs in comparison.runs.values()] == [3, 3]
    assert comparison.cosine == {"b": pytest.approx(1.0)}


def test_every_case_has_its_pair_before_the_next_pair(monkeypatch):
    monkeypatch.setattr(measure, "Worker", Recorder)
    order = []
    cases = [Case("prefill", 8), Case("prefill", 16)]
    measure.compare(["a"], "m", cases, n_threads=1, n_pairs=2, n_vocab=100, kv="f16", progress=order.append)
    assert [line.split(":")[0] for line in order[1:]] == [
        "prefill 8, 1 threads, pair 1 of 2",
        "prefill 16, 1 threads, pair 1 of 2",
        "prefill 8, 1 threads, pair 2 of 2",
        "prefill 16, 1 threads, pair 2 of 2",
    ]


def test_the_report_states_ratios_bandwidth_and_disturbances():
    comparison = Comparison(Case("decode", 10), 2, {"ours": "ours 1", "theirs": "theirs 2"})
    comparison.runs = {"ours": [run(1.0, foreign=1.0)], "theirs": [run(2.0)]}
    comparison.bandwidth = [20e9]
    about = machine.Machine("a processor", 2, 8.0, "Linux")
    model = report.Model("m.gguf", "llama", {"Q4_0": 1_000_000_000}, 1_000_000_000)
    text = report.as_markdown(about, model, [comparison])
    assert "| decode 10 | 2 | 10.00 / 10.00 / 10.00 | 5.00 / 5.00 / 5.00 | 2.000 / 2.000 / 2.000 | 50% |" in text
    assert "Disturbed: during decode 10 at 2 threads, ours, other processes used 50% of the machine." in text
    assert "waiting engines" not in text
    parsed = json.loads(report.as_json(about, model, [comparison]))
    assert parsed["results"][0]["ratios"] == {"theirs": [2.0]}


def test_an_engine_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delenv(ik_llama.VARIABLE, raising=False)
    settings = {"do": "load", "model": "m", "n_threads": 1, "n_ctx": 4, "kv": "f16"}
    requests = [json.dumps({**settings, "engine": engine}) + "\n" for engine in ("openvino", "ik_llama.cpp")]
    replies = io.StringIO()
    worker.serve(io.StringIO("".join(requests)), replies)
    no_openvino, no_ik_llama = map(json.loads, replies.getvalue().splitlines())
    assert "openvino" in no_openvino["error"]
    assert "AXIOM_IK_LLAMA is not set" in no_ik_llama["error"]
