"""Telemetry: records that add up, the file they are written to, and the picture made of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import axiom
from axiom.cli import plot, run
from axiom.engine import FIELDS
from axiom.reference.telemetry import LayerClock, LayerTimes, Telemetry
from axiom.runtime import Runtime
from axiom.telemetry import TelemetryFile, read_telemetry
from tests.backends import ENGINES

N_LAYER = 3
PARTS = ["stream_us", "rms_us", "attn_us", "ffn_proj_us", "ffn_act_us", "ffn_down_us", "output_us"]


@pytest.fixture(scope="module", params=ENGINES)
def runtime(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[Runtime]:
    path = random_model(n_layer=N_LAYER, n_embd=64, n_ff=96, n_head=4, n_head_kv=2, n_vocab=300, n_ctx=600, fmt="Q8_0")
    with axiom.Runtime(path, backend=request.param, threads=1) as opened:
        yield opened


def test_a_record_for_each_layer_and_the_head_of_each_pass(runtime: Runtime) -> None:
    runtime.engine.take_records()
    before = runtime.telemetry
    runtime.generate([5, 6, 7, 8], max_tokens=3, seed=1, ignore_eos=True)
    after = runtime.telemetry
    records, n_lost = runtime.engine.take_records()
    assert (records.shape, records.dtype, n_lost) == ((3 * (N_LAYER + 1), len(FIELDS)), np.uint64, 0)
    column = {name: records[:, i].astype(int) for i, name in enumerate(FIELDS)}
    first = before["n_pass"]
    assert column["pass"].tolist() == [first + i // (N_LAYER + 1) for i in range(3 * (N_LAYER + 1))]
    assert column["layer"].tolist() == list(range(N_LAYER + 1)) * 3
    assert column["n_token"].tolist() == [4] * 4 + [1] * 8
    assert (column["layer_us"] == sum(column[part] for part in PARTS)).all()
    assert (np.diff(column["start_us"]) >= 0).all()
    # Times do not overlap, and the sums are the engine's own.
    assert (column["start_us"][1:] + 2 >= (column["start_us"] + column["layer_us"])[:-1]).all()
    for layer in range(N_LAYER):
        for part in PARTS[:-1]:
            new = after["layers"][layer][part] - before["layers"][layer][part]
            assert abs(column[part][column["layer"] == layer].sum() - new) <= 3  # each is rounded
    assert not column["bytes_read"].any()
    assert runtime.engine.take_records()[0].shape == (0, len(FIELDS))


def test_a_pass_that_was_stopped_keeps_its_number() -> None:
    telemetry = Telemetry(layers=[LayerTimes(), LayerTimes()])
    LayerClock(telemetry, 1).end_layer(0)
    clock = LayerClock(telemetry, 1)
    clock.end_layer(0)
    clock.end()
    records, _ = telemetry.take_records()
    assert records[:, FIELDS.index("pass")].tolist() == [0, 1]
    assert telemetry.n_pass == 1


def test_the_oldest_records_are_lost_and_counted(runtime: Runtime) -> None:
    runtime.engine.take_records()
    n_pass = 1100

    def many_passes(engine: axiom.engine.Engine) -> None:
        seq = engine.seq_new()
        for _ in range(n_pass):
            engine.forward([seq], [[5]])
            engine.seq_rewind(seq, 0)
        engine.seq_free(seq)

    runtime.engine.call(many_passes)
    records, n_lost = runtime.engine.take_records()
    assert (len(records), n_lost) == (4096, n_pass * (N_LAYER + 1) - 4096)
    assert records[-1, 1] == N_LAYER


def test_a_full_disk_names_the_file_of_telemetry(runtime: Runtime) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught, TelemetryFile("/dev/full", runtime):
        runtime.generate([5], max_tokens=1, seed=1)
    assert caught.value.filename == "/dev/full"


def test_a_file_of_telemetry(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    runtime.generate([5], max_tokens=2, seed=1)  # before the file: not in it
    with TelemetryFile(path, runtime) as telemetry:
        for _ in runtime.stream([5, 6], max_tokens=4, seed=1, ignore_eos=True):
            telemetry.write()
    records = read_telemetry(path)
    assert records.shape == (4 * (N_LAYER + 1), len(FIELDS))
    assert path.read_text().splitlines()[0] == ",".join(FIELDS)
    assert telemetry.n_lost == 0


def test_run_writes_it_and_plot_draws_it(runtime: Runtime, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    arguments = ["-m", str(runtime.gguf.path), "--backend", runtime.backend, "-n", "6", "--telemetry", str(table), "Hi"]
    result = CliRunner().invoke(run.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert len(read_telemetry(table)) >= N_LAYER + 1
    for name, written in (("out.png", "out.png"), ("other.svg", "other.svg"), ("plain", "plain.png")):
        result = CliRunner().invoke(plot.command, [str(table), "-o", str(tmp_path / name)], catch_exceptions=False)
        assert (result.exit_code, result.stderr) == (0, f"wrote {tmp_path / written}\n")
        assert (tmp_path / written).stat().st_size > 10_000
    command = [sys.executable, "-c", "from axiom.cli import main; main()", "plot", str(table), "-o", "/dev/stdout"]
    assert subprocess.run(command, check=True, capture_output=True).stdout.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"expected another file than out\.csv, which would be lost"):
        CliRunner().invoke(plot.command, [str(table), "-o", str(table)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected the columns pass,.*an empty file"),
        ("a,b\n1,2\n", "expected the columns pass,.*got 'a,b'"),
        (",".join(FIELDS) + "\n1,2\n", "line 2: expected 16 whole numbers, got '1,2'"),
        (",".join(FIELDS) + "\n" + ",".join(["-1"] * 16) + "\n", "line 2: expected 16 whole numbers"),
        (",".join(FIELDS) + "\n" + ",".join(["9" * 30] * 16) + "\n", "line 2: expected 16 whole numbers"),
        (",".join(FIELDS) + "\n", "expected records, got none"),
        (",".join(FIELDS) + "\n" + "1" * 200_000, "line 2: expected 16 whole numbers, got '111"),
        ("GGUF\3\0\0\0\xff\xfe", "expected the columns pass,.*got 'GGUF.*; use `axiom run --telemetry`"),
    ],
)
def test_what_is_no_telemetry_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=said):
        CliRunner().invoke(plot.command, [str(path)], catch_exceptions=False)
