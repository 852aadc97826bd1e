"""The bare machine tells the same story as the native body: the same text, and the same receipt to its last digest."""

from __future__ import annotations

import fcntl
import re
import subprocess
from pathlib import Path

import pytest

from axiom.bare.kernel import Status
from axiom.bare.qemu import Disk, Machine, accelerator, command, run
from axiom.image_writer import pack
from tests.backends import why_not_bare
from tests.bare_stories import MODEL, PROMPT, native, skip_if_lacking, story, told
from tests.models import write_random_model

if reason := why_not_bare():
    pytest.skip(reason, allow_module_level=True)

ACCELERATORS = ["tcg"] if accelerator() == "tcg" else ["tcg", "kvm"]
LIMIT_S = 240.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "model.axiom"
    pack(MODEL, path)
    return path


@pytest.mark.parametrize("kind", ACCELERATORS)
@pytest.mark.parametrize("n_core", [1, 2])
def test_the_same_story_from_a_module(kind: str, n_core: int, image: Path) -> None:
    options = {"prompt": PROMPT, "tokens": "40", "seed": "7", "temperature": "0.8", "top_k": "20"}
    ending = run(Machine(options, module=image, accelerator=kind, n_core=n_core, memory_mib=128), limit_s=LIMIT_S)
    assert story(ending) == native(PROMPT, 40, seed=7, temperature=0.8, top_k=20)


@pytest.mark.parametrize("kind", ACCELERATORS)
@pytest.mark.parametrize("attachment", ["virtio-mmio", "virtio-pci", "nvme"])
@pytest.mark.parametrize("memory_kib", ["", "2500"])
def test_the_same_story_from_a_disk(kind: str, attachment: str, memory_kib: str, image: Path) -> None:
    # With 2.4 MiB for a model of 1 MiB and what goes with it, layers are read again in every pass.
    options = {"prompt": PROMPT, "tokens": "20", "temperature": "0", "telemetry": "tokens"}
    if memory_kib:
        options["memory_kib"] = memory_kib
    machine = Machine(options, disks=[Disk(image, attachment)], accelerator=kind)  # type: ignore[arg-type]
    assert story(run(machine, limit_s=LIMIT_S)) == native(PROMPT, 20, temperature=0.0, seed=0)


@pytest.mark.parametrize("table", ["portable", "sse2", "avx2"])
def test_every_table_tells_the_same(table: str, image: Path) -> None:
    options = {"prompt": PROMPT, "tokens": "8", "temperature": "0", "kernels": table, "telemetry": "none"}
    ending = run(Machine(options, module=image), limit_s=LIMIT_S)
    skip_if_lacking(table, ending.text)
    assert story(ending) == native(PROMPT, 8, temperature=0.0, seed=0)


@pytest.mark.parametrize("tokens", ["1000000000", "18446744073709551615"])
def test_more_tokens_than_there_is_context_for(tokens: str, image: Path) -> None:
    options = {"prompt": PROMPT, "tokens": tokens, "temperature": "0", "telemetry": "none"}
    ending = run(Machine(options, module=image, n_core=2, memory_mib=128), limit_s=LIMIT_S)
    assert story(ending) == native(PROMPT, 500, temperature=0.0, seed=0)


def test_nothing_is_lost_while_nobody_reads(image: Path) -> None:
    options = {"prompt": PROMPT, "tokens": "20", "temperature": "0"}
    with subprocess.Popen(
        command(Machine(options, module=image, accelerator="tcg")), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        # The lines fill it some times over.
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)
        text = process.stdout.read().decode()
    assert told(text) == native(PROMPT, 20, temperature=0.0, seed=0)
    # The last of each pass is the output.
    assert len(re.findall(r"axiom: pass \d+ layer \d tokens", text)) == 20 * (4 + 1)


@pytest.mark.parametrize("option", ["top_k=1.5", "top_k=-1", "repeat_last_n=1e3", "seed=-1", "temperature=warm"])
def test_a_number_that_cannot_be_is_refused(option: str, image: Path) -> None:
    name, value = option.split("=")
    ending = run(Machine({name: value}, module=image), limit_s=LIMIT_S)
    assert ending.status is Status.COMMAND_LINE, ending
    assert f"axiom: {option}: expected a number as docs/bare.md has it" in ending.lines()


def test_memory_that_runs_out_is_named_as_such(tmp_path: Path) -> None:
    # The words of a large vocabulary alone are more than there is.
    shape = {"n_layer": 1, "n_embd": 32, "n_ff": 32, "n_head": 2, "n_head_kv": 2, "n_vocab": 100_000, "fmt": "Q8_0"}
    image = pack(write_random_model(tmp_path / "model.gguf", **shape), tmp_path / "model.axiom")
    ending = run(Machine({"prompt": PROMPT}, memory_mib=24, disks=[Disk(image)]), limit_s=LIMIT_S)
    assert ending.status is Status.MEMORY, ending
    assert "axiom: no memory is left for" in ending.text


def test_no_tokens_are_refused_as_such(image: Path) -> None:
    ending = run(Machine({"prompt": PROMPT, "tokens": "0"}, module=image), limit_s=LIMIT_S)
    assert ending.status is Status.COMMAND_LINE, ending
    assert "axiom: tokens=0: expected a number from 1 on" in ending.lines()


def test_a_damaged_image_is_refused(image: Path, tmp_path: Path) -> None:
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.axiom"
    damaged.write_bytes(content)
    ending = run(Machine({"prompt": PROMPT, "tokens": "8"}, module=damaged), limit_s=LIMIT_S)
    assert ending.status is Status.IMAGE, ending
    assert "axiom: token" not in ending.text


def test_without_an_image_it_says_what_it_looked_at() -> None:
    ending = run(Machine({"prompt": PROMPT}), limit_s=LIMIT_S)
    assert ending.status is Status.IMAGE, ending
    assert "axiom: no model: there is no module, and no disk that can be used; give one" in ending.text
