"""The command line: help, errors and every command but `chat`, by exit codes and what is printed."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axiom.cli.group import COMMANDS
from axiom.cli.story_options import KERNEL_OPTIONS
from tests.commands import MODEL, REFERENCE, axiom, printed
from tests.models import CHATML


@pytest.fixture(scope="module")
def model(random_model: Callable[..., Path]) -> str:
    return str(random_model(**MODEL, chat_template=CHATML))


# Help and errors


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    text = printed(name, "--help")
    assert text.startswith(f"Usage: axiom {name}")


def test_help_lists_all_commands_and_version_is_shown() -> None:
    text = printed("--help")
    for name in COMMANDS:
        assert f"\n  {name} " in text


@pytest.mark.parametrize(
    "args",
    [
        ["frobnicate"],
        ["run", "--frobnicate"],
        ["run", "--temperature", "x", "Hi"],
        ["bench", "--depths", "x"],
        ["bench", "--prefill", "0", "--decode", "0"],
        ["tokenize", "--decode", "one"],
        ["verify"],
        ["run", "--max-tokens", "0", "Hi"],
        ["run", "--threads", "0", "Hi"],
        ["run", "--n-ctx", "0", "Hi"],
        ["run", "--seed", str(1 << 64), "Hi"],
        ["run", "--memory", "much", "Hi"],
        ["inspect", "--memory", "0"],
        ["inspect", "--n-ctx", "100"],
        ["tokenize", b"caf\xe9"],
    ],
)
def test_a_wrong_command_line_ends_with_2(args: list[Any]) -> None:
    done = axiom(*args)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_are_one_line_and_end_with_1(model: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(Path(model).read_bytes()[:1000])
    for args, message in (
        (["run", "-m", str(tmp_path / "nothing.gguf"), "Hi"], "nothing.gguf: No such file or directory"),
        (["run", "-m", str(damaged), "Hi"], "damaged.gguf, byte "),
        (["run", "-m", model, *REFERENCE, "-t", "-1", "Hi"], "temperature must be"),
        (["run", "-m", model, *REFERENCE, "--n-ctx", "999999", "Hi"], "n_ctx=999999, but the model has 2048 positions"),
        (
            ["run", "-m", model, *REFERENCE, "--n-ctx", "8", "Hello there, hello there"],
            "but the context has 8 positions",
        ),
        (["verify", model], "receipt"),
        (
            ["chat", "-m", model, *REFERENCE, "--template", "{{ raise_exception('no') }}", "Hi"],
            "refuses these messages: no",
        ),
        (
            ["bench", "-m", model, *REFERENCE, "--prefill", "4096"],
            "needs 4096 positions, the context has 2048; use fewer, or a model that has more\n",
        ),
        (
            ["bench", "-m", model, *REFERENCE, "--n-ctx", "64", "--prefill", "65"],
            "the context has 64; use fewer, or a larger --n-ctx, up to 2048\n",
        ),
        (
            ["run", "-m", model, *REFERENCE, "-n", "1", "--receipt", str(tmp_path / "no" / "r.json"), "Hi"],
            "no such directory",
        ),
    ):
        done = axiom(*args)
        assert done.returncode == 1, args
        assert message in done.stderr
        assert done.stderr.startswith("axiom: error: ")
        assert done.stderr.count("\n") == 1


# run


def test_run_prints_the_prompt_and_the_text(model: str) -> None:
    args = ["run", "-m", model, *REFERENCE, "-n", "12", "-s", "1"]
    text = json.loads(printed(*args, "Hello", "--json"))["text"]
    assert printed(*args, "Hello") == f"Hello{text}\n"
    assert printed(*args, "Hello", "--no-echo") == f"{text}\n"
    assert printed(*args, "-", stdin="Hello") == f"Hello{text}\n"
    assert printed(*args, stdin="Hello") == f"Hello{text}\n"
    assert printed(*args[:1], *args[3:], "Hello", AXIOM_MODEL=model) == f"Hello{text}\n"


def test_run_takes_every_option(model: str, tmp_path: Path) -> None:
    done = axiom(
        "run", "-m", model, *REFERENCE, "--n-ctx", "64", "--threads", "1", "--kv", "f32", "-n", "5", "-t", "0.5",
        "--top-k", "9", "--top-p", "0.9", "--min-p", "0.01", "--typical-p", "0.9", "--repeat-penalty", "1.1",
        "--presence-penalty", "0.1", "--frequency-penalty", "0.1", "--repeat-last-n", "9", "--logit-bias", "5=-inf",
        "--logit-bias", "6=1.5", "-s", "3", "--stop", "zzzz", "--stop", "yyyy", "--ignore-eos", "--stats",
        "--receipt", str(tmp_path / "r.json"), "Hello",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "5 tokens at" in done.stderr
    assert "ended by length, seed 3" in done.stderr
    receipt = json.loads((tmp_path / "r.json").read_text())
    assert receipt["contract"].endswith("kv=f32")
    assert receipt["sampling"] == {
        "temperature": 0.5, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.9, "repeat_penalty": 1.1,
        "presence_penalty": 0.1, "frequency_penalty": 0.1, "repeat_last_n": 9, "logit_bias": {"5": "-inf", "6": 1.5},
        "seed": 3,
    }  # fmt: skip


def test_the_default_model_tells_the_same_story_on_both_bodies(tmp_path: Path) -> None:
    args = ["run", "Once upon a time", "-n", "24", "-s", "3"]
    path = str(tmp_path / "r.json")
    story = printed(*args, "--receipt", path)
    assert story.startswith("Once upon a time")
    assert printed(*args, *REFERENCE) == story
    assert printed("verify", path, *REFERENCE).startswith("equal: ")
    assert printed("verify", path, "--kernels", "portable", "--threads", "1").startswith("equal: ")


def test_zero_is_a_setting_and_not_an_absent_one(model: str) -> None:
    args = ["run", "-m", model, *REFERENCE, "-n", "8", "Hello", "--json"]
    greedy = [json.loads(printed(*args, "-t", "0", "-s", seed))["tokens"] for seed in ("0", "1")]
    assert greedy[0] == greedy[1]
    assert json.loads(printed(*args, "-s", "0"))["seed"] == 0


# The commands that read


def test_inspect(model: str) -> None:
    facts = json.loads(printed("inspect", model, "--json", "--metadata", "--tensors", "--digest"))
    assert facts["architecture"] == "llama"
    assert facts["runs"] is True
    assert facts["config"]["n_layer"] == 1
    assert facts["kv_bytes_per_position"] == {"f16": 128, "f32": 256}
    assert [context["n_ctx"] for context in facts["contexts"]] == [2048]
    assert all(context["f16"]["fits"] for context in facts["contexts"])
    assert facts["chat_templates"] == ["default"]
    assert facts["metadata"]["general.architecture"] == "llama"
    assert len(facts["tensors"]) == facts["n_tensors"]
    assert len(facts["sha256"]) == 64
    assert facts["n_bytes"] == Path(model).stat().st_size
    text = printed("inspect", model, "--metadata", "--tensors")
    for part in (
        "architecture    llama",
        "runs here       yes",
        "Q8_0",
        "blk.0.attn_q.weight",
        "general.architecture = ",
    ):
        assert part in text
    assert printed("inspect", model, "--template") == CHATML + "\n"


def test_inspect_shows_what_does_not_run(random_model: Callable[..., Path]) -> None:
    path = str(random_model(**MODEL, metadata={"llama.expert_count": 8}))
    assert "no: model" in printed("inspect", path)
    facts = json.loads(printed("inspect", path, "--json"))
    assert facts["runs"] is False
    assert "expert_count" in facts["why_not"]


def test_json_has_no_numbers_that_json_has_not(random_model: Callable[..., Path]) -> None:
    numbers = [math.nan, math.inf, -math.inf, 0.5]
    path = random_model(**MODEL, metadata={"test.one": math.nan, "test.many": numbers})
    shown = printed("inspect", "--metadata", "--json", str(path))
    metadata = json.loads(shown, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["metadata"]
    assert (metadata["test.one"], metadata["test.many"]) == ("NaN", ["NaN", "Infinity", "-Infinity", 0.5])


def test_inspect_says_that_there_is_no_template(random_model: Callable[..., Path]) -> None:
    plain, named = random_model(**MODEL), random_model(**MODEL, metadata={"tokenizer.chat_template.tools": "named"})
    for path, said in (
        (plain, "no chat template; it continues a text: `axiom run`"),
        (named, "the chat templates tools and no default one; --metadata --json shows them"),
    ):
        done = axiom("inspect", "--template", str(path))
        assert (done.returncode, done.stderr) == (1, f"axiom: error: {path.name} has {said}\n")
    assert json.loads(printed("inspect", "--metadata", "--json", str(named)))["metadata"].popitem()[1] == "named"


@pytest.mark.parametrize(
    "args",
    [
        ["run", "Hi"],
        ["chat", "Hi"],
        ["inspect"],
        ["tokenize", "Hi"],
        ["score", "Hi"],
        ["bench"],
        ["image", "build", "-o", "disk.img"],
        ["boot"],
    ],
)
def test_every_command_that_needs_no_model_takes_that_of_the_environment(args: list[str]) -> None:
    done = axiom(*args, AXIOM_MODEL="/nowhere/model.gguf")
    assert (done.returncode, done.stderr) == (1, "axiom: error: /nowhere/model.gguf: No such file or directory\n")


def test_tokenize(model: str) -> None:
    got = json.loads(printed("tokenize", "-m", model, *REFERENCE, "--json", "Hello é"))
    assert got["n_tokens"] == len(got["tokens"]) == len(got["pieces"])
    assert got["pieces"][0] == "<s>"
    numbers = " ".join(map(str, got["tokens"]))
    assert printed("tokenize", "-m", model, *REFERENCE, "--decode", numbers) == "Hello é\n"
    assert (
        printed("tokenize", "-m", model, *REFERENCE, "--count", "--no-special", "Hello é") == f"{got['n_tokens'] - 1}\n"
    )
    table = printed("tokenize", "-m", model, *REFERENCE, "Hello é").splitlines()
    assert table[0].split() == ["token", "text", "kind"]
    assert len(table) == got["n_tokens"] + 1
    assert axiom("tokenize", "-m", model, *REFERENCE, "--decode", "x").returncode == 2


def test_score(model: str) -> None:
    got = json.loads(printed("score", "-m", model, *REFERENCE, "--json", "Hello there"))
    assert len(got["logprobs"]) == len(got["tokens"]) - 1
    text = printed("score", "-m", model, *REFERENCE, "--tokens", "Hello there")
    assert text.splitlines()[-1].endswith(f"perplexity {got['perplexity']:.4f}")


def test_verify(model: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    printed("run", "-m", model, *REFERENCE, "-n", "6", "--kv", "f32", "--receipt", str(path), "Hello")
    assert printed("verify", str(path), "-m", model, *REFERENCE).startswith("equal: 6 tokens")
    assert json.loads(printed("verify", str(path), "-m", model, *REFERENCE, "--json"))["equal"] is True
    fields = json.loads(path.read_text())
    fields["output"][2] = (fields["output"][2] + 1) % 300
    path.write_text(json.dumps(fields))
    done = axiom("verify", str(path), "-m", model, *REFERENCE)
    assert done.returncode == 1
    assert done.stdout.startswith("different: output token 2: the receipt has")


def test_bench(model: str) -> None:
    args = ["bench", "-m", model, *REFERENCE, "--prefill", "8", "--decode", "2", "--depths", "0,16", "--repeat", "2"]
    report = json.loads(printed(*args, "--json"))
    assert [(row["test"], row["depth"]) for row in report["results"]] == [
        ("prefill", 0),
        ("prefill", 16),
        ("decode", 0),
        ("decode", 16),
    ]
    assert all(0 < row["min"] <= row["median"] <= row["max"] for row in report["results"])
    rows = list(csv.DictReader(io.StringIO(printed(*args, "--format", "csv"))))
    assert [row["test"] for row in rows] == ["prefill", "prefill", "decode", "decode"]
    # More than a runtime has room for unless it is asked to.
    table = printed(*args, "--batch", "17").splitlines()
    assert sum(line.startswith("| decode ") and " |    17 | " in line for line in table) == 2
    done = axiom(*args, "--batch", "1000000000")
    assert (done.returncode, done.stderr.startswith("axiom: error: --batch 1000000000: weights of ")) == (1, True)


def test_doctor_says_what_is_forced_and_what_cannot_be() -> None:
    assert "kernels portable: chosen, as AXIOM_KERNELS says" in printed("doctor", AXIOM_KERNELS="portable")
    done = axiom("doctor", AXIOM_KERNELS="abacus")
    assert done.returncode == 1
    assert "AXIOM_KERNELS: " in done.stdout
    assert "abacus" in done.stdout


def test_doctor_names_nothing_that_is_not_so() -> None:
    done = axiom("doctor", AXIOM_KERNELS="abacus", AXIOM_MODEL="/nowhere/model.gguf")
    assert done.returncode == 1
    assert "as AXIOM_KERNELS says" not in done.stdout
    assert "AXIOM_MODEL: /nowhere/model.gguf: No such file or directory" in done.stdout
    assert "streamed weights" not in done.stdout


def test_inspect_says_what_kind_of_file_it_is(model: str, tmp_path: Path) -> None:
    image = tmp_path / "model.axiom"
    printed("pack", model, str(image), *REFERENCE)
    assert ", image version 1\n" in printed("inspect", str(image))
    assert ", GGUF version 3\n" in printed("inspect", model)


def test_doctor() -> None:
    facts = json.loads(axiom("doctor", "--json").stdout)
    assert facts["cpu"]["n_threads"] >= 1
    assert set(facts["versions"]) == {"axiom", "python", "numpy", "jinja2", "click"}
    text = axiom("doctor").stdout
    for part in ("versions", "processor", "threads", "memory", "default model", "problems"):
        assert f"\n{part} " in f"\n{text}"


def test_the_options_of_the_kernel_are_known_everywhere() -> None:
    """In the program, in the kernel itself and in its documentation."""
    root = Path(__file__).parent.parent
    kernel = (root / "bootkernel/src/wish.rs").read_text().split("const NAMES", 1)[1].split("];", 1)[0]
    table = (root / "docs/bare.md").read_text().split("| option |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert sorted(re.findall(r'"([^"]+)"', kernel)) == sorted(KERNEL_OPTIONS)
    assert sorted(name for row in rows for name in re.findall(r"`([^`]+)`", row)) == sorted(KERNEL_OPTIONS)
