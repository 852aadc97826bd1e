"""Files that are written: whole or not at all, never over the model, and named when they cannot be."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import axiom
from axiom import _native as native
from axiom.body import Backend
from axiom.files import checked_target, whole_file, write_whole
from axiom.model_file.open_file import OpenFile
from axiom.reference.format import format_named
from axiom.telemetry import TelemetryFile
from tests.backends import BACKENDS, ENGINES
from tests.commands import RUN
from tests.models import SMALL

MODEL = SMALL | {"n_layer": 1, "n_ctx": 64}


@pytest.fixture
def model(random_model: Callable[..., Path], tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(random_model(**MODEL).read_bytes())
    return path


def axiom_command(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *args], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_nothing_is_written_over_the_model(model: Path, tmp_path: Path) -> None:
    content = model.read_bytes()
    link, hard = tmp_path / "link", tmp_path / "hard"
    link.symlink_to(model)
    hard.hardlink_to(model)
    for target in (model, link, hard):
        with pytest.raises(ValueError, match=r"expected another file than model\.gguf"):
            axiom.pack(model, target, backend="reference")
        with axiom.Runtime(model, backend="reference") as runtime:
            with pytest.raises(ValueError, match=r"expected another file than model\.gguf"):
                TelemetryFile(target, runtime)
            with runtime.session() as session:
                session.append([1])
                with pytest.raises(ValueError, match=r"expected another file than model\.gguf"):
                    session.save(target)
        done = axiom_command(
            "run", "-m", str(model), "--backend", "reference", "-n", "1", "--receipt", str(target), "x"
        )
        assert (done.returncode, "expected another file than a model" in done.stderr) == (1, True), done
    assert model.read_bytes() == content


def test_nothing_is_written_over_any_model(model: Path, tmp_path: Path) -> None:
    with axiom.Runtime(model, backend="reference") as runtime:
        receipt = runtime.generate([1], max_tokens=1, seed=1, receipt=True).receipt
    assert receipt is not None
    image = axiom.pack(model, tmp_path / "model.axiom", backend="reference")
    for path in (model, image):
        content = path.read_bytes()
        with pytest.raises(ValueError, match="expected another file than a model, which would be lost; give another"):
            receipt.save(path)
        assert path.read_bytes() == content
    other = tmp_path / "other.gguf"
    other.write_bytes(model.read_bytes())
    with pytest.raises(ValueError, match=r"other\.gguf: expected another file than a model"):
        axiom.pack(model, other, backend="reference")
    # An image is made again where one is, from another model as well.
    assert axiom.pack(other, image, backend="reference") == image


def test_a_file_is_readable_to_whom_the_one_before_was(tmp_path: Path) -> None:
    for mode in (0o600, 0o666):
        target = tmp_path / f"{mode:o}"
        target.touch()
        target.chmod(mode)
        write_whole(target, [b"new"])
        assert (target.stat().st_mode & 0o777, target.read_bytes()) == (mode, b"new")


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    target = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    write_whole(target, [b"x"])
    assert target.read_bytes() == b"x"
    with pytest.raises(OSError, match="File name too long"):
        checked_target(f"{target}n")


def test_a_link_stays_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    write_whole(link, [b"1"])
    assert link.is_symlink()
    assert target.read_bytes() == b"1"
    read, write = os.pipe()
    write_whole(f"/dev/fd/{write}", [b"to a ", b"pipe"])
    assert os.read(read, 100) == b"to a pipe"
    os.close(read)
    os.close(write)
    before = os.stat("/dev/null")
    write_whole("/dev/null", [b"gone"])
    assert os.path.samestat(before, os.stat("/dev/null"))
    with pytest.raises(OSError, match="no regular file"):
        checked_target("/dev/null")


@pytest.mark.parametrize(("name", "kind"), [(".", IsADirectoryError), ("/", IsADirectoryError), ("", ValueError)])
def test_a_folder_is_no_file(name: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        write_whole(name, [b"x"])


def test_a_place_that_is_not_there_is_named_as_it_was_given(model: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory: /nowhere") as caught:
        write_whole("/nowhere/file", [b"x"])
    assert caught.value.filename == "/nowhere/file"
    done = axiom_command("pack", str(model), "/nowhere/x.axiom", "--backend", "reference")
    assert done.stderr == "axiom: error: /nowhere/x.axiom: no such directory: /nowhere\n"


def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"before")
    code = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"from axiom.files import write_whole; write_whole({str(target)!r}, [bytes(1 << 20)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert f"[Errno {errno.EFBIG}] File too large: '{target}'" in done.stderr
    assert target.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_device_is_named() -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_whole("/dev/full", [b"x"])
    assert caught.value.filename == "/dev/full"


def test_threads_that_write_the_same_file_leave_a_whole_one(tmp_path: Path) -> None:
    target, errors = tmp_path / "file", []
    contents = [bytes([i]) * 100_000 for i in range(8)]

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                write_whole(target, [content])
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert target.read_bytes() in contents


@pytest.mark.parametrize("backend", ["foo", 5])
def test_a_body_that_is_none_packs_nothing(backend: object, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"backend: expected 'native', 'reference' or 'bare', got {backend!r}"):
        axiom.pack(model, tmp_path / "model.axiom", backend=backend)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["model.gguf"]


def test_an_image_is_not_packed_again(model: Path, tmp_path: Path) -> None:
    image = axiom.pack(model, tmp_path / "model.axiom", backend="reference")
    with pytest.raises(ValueError, match=r"model\.axiom: expected a GGUF, got an image, which is packed already"):
        axiom.pack(image, tmp_path / "again.axiom", backend="reference")


def test_a_pipe_is_no_model_and_nobody_waits_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for opens in (axiom.Runtime, axiom.GGUFFile, axiom.ImageFile, axiom.Tokenizer):
        with pytest.raises(OSError, match="it is a pipe, and a model is read from a file; save it to one") as caught:
            opens(pipe)
        assert caught.value.filename == str(pipe)
    with pytest.raises(OSError, match="it is a device, and a model is read from a file"):
        axiom.GGUFFile("/dev/zero")
    for args in (["verify-image", str(pipe)], ["boot", str(pipe)], ["inspect", str(pipe)]):
        done = axiom_command(*args, timeout=60)
        assert (done.returncode, done.stderr) == (
            1,
            f"axiom: error: {pipe}: it is a pipe, and a model is read from a file; save it to one\n",
        ), args
    done = axiom_command("doctor", timeout=60, env={**os.environ, "AXIOM_MODEL": str(pipe)})
    assert f"AXIOM_MODEL: {pipe}: it is a pipe" in done.stdout


def test_an_empty_name_is_no_model(tmp_path: Path) -> None:
    for opens in (axiom.Runtime, axiom.GGUFFile, axiom.ImageFile, axiom.Tokenizer):
        with pytest.raises(ValueError, match="model: expected the name of a file, got an empty one"):
            opens("")
    for args in (
        ["run", "-m", "", "Hi"],
        ["tokenize", "-m", "", "Hi"],
        ["inspect", ""],
        ["image", "build", "", "-o", str(tmp_path / "disk.img")],
        ["boot", ""],
        ["verify-image", ""],
    ):
        done = axiom_command(*args)
        assert (done.returncode, done.stderr) == (
            1,
            "axiom: error: model: expected the name of a file, got an empty one\n",
        ), args


def test_a_name_that_no_file_has_and_a_folder_are_no_model(tmp_path: Path) -> None:
    for opens in (axiom.Runtime, axiom.GGUFFile, axiom.ImageFile, axiom.Tokenizer):
        with pytest.raises(
            ValueError, match=r"model: expected the name of a file, got one with a zero byte: 'a\\x00b'"
        ):
            opens("a\0b")
        with pytest.raises(IsADirectoryError, match=r"it is a folder; give the path of a \.gguf file") as caught:
            opens(tmp_path)
        assert caught.value.filename == str(tmp_path)


def test_what_cannot_be_read_is_named(model: Path, tmp_path: Path) -> None:
    """The disk goes away: what is behind the open file is a folder now, which no call reads."""
    folder = os.open(tmp_path, os.O_RDONLY)
    file = OpenFile(model)
    os.dup2(folder, file.number)
    with pytest.raises(IsADirectoryError) as caught:
        file.read(0, 1)
    assert caught.value.filename == str(model)
    image = axiom.ImageFile(axiom.pack(model, tmp_path / "model.axiom", backend="reference"))
    os.dup2(folder, image._file.number)
    for read in (
        lambda: image.read_extent(0),
        lambda: image.tensor_data("output.weight"),
        lambda: list(image.verify()),
    ):
        with pytest.raises(IsADirectoryError) as caught:
            read()
        assert caught.value.filename == str(image.path)
    # Also where another file is being written.
    with pytest.raises(IsADirectoryError) as caught, whole_file(tmp_path / "copy") as copy:
        copy.write(file.read(0, 1))
    assert caught.value.filename == str(model)
    os.close(folder)


def test_a_model_that_becomes_shorter_is_an_error(model: Path) -> None:
    code = f"""
import axiom, os
def cut(n_done, n_total):
    os.truncate({str(model)!r}, 8192)
runtime = axiom.Runtime({str(model)!r}, backend="reference")
cut(0, 0)
try:
    runtime.model_sha256()
except axiom.ModelFormatError as error:
    print(error)
"""
    n_bytes = model.stat().st_size
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = f"model.gguf: length: expected {n_bytes} bytes, as when it was opened, got 8192"
    assert (done.returncode, done.stdout.startswith(expected)) == (0, True), done


def test_a_model_that_becomes_shorter_while_it_loads_is_an_error(model: Path) -> None:
    code = f"""
import axiom, os
try:
    axiom.Runtime({str(model)!r}, on_load=lambda n_done, n_total: os.truncate({str(model)!r}, 8192))
except axiom.ModelFormatError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, "as when it was opened, got 8192" in done.stdout) == (0, True), done


@pytest.fixture
def rewrite(model: Path) -> Callable[..., None]:
    """Writes other weights of the same length into the model, long after it was made."""
    os.utime(model, (1, 1))

    def write(*_: object) -> None:
        with model.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")

    return write


REWRITTEN = r"model\.gguf: contents: expected those of when it was opened, got others, written since; .* open it again"


@pytest.mark.parametrize("backend", ENGINES)
def test_a_model_that_is_written_to_while_it_loads_is_an_error(
    backend: Backend, model: Path, rewrite: Callable[..., None]
) -> None:
    """It would compute with some weights of each."""
    with pytest.raises(axiom.ModelFormatError, match=REWRITTEN):
        axiom.Runtime(model, backend=backend, on_load=rewrite)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_is_written_to_while_it_is_packed_is_an_error(
    backend: Backend, model: Path, rewrite: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(axiom.ModelFormatError, match=REWRITTEN):
        axiom.pack(model, tmp_path / "model.axiom", backend=backend, on_progress=rewrite)
    assert list(tmp_path.iterdir()) == [model]


def test_a_digest_is_that_of_the_model_that_was_opened(model: Path, rewrite: Callable[..., None]) -> None:
    gguf = axiom.GGUFFile(model)
    of_header = axiom.GGUFFile(model).header_digest()
    rewrite()
    with pytest.raises(axiom.ModelFormatError, match=REWRITTEN):
        gguf.digest()
    assert gguf.header_digest() == of_header
    assert axiom.GGUFFile(model).digest() == hashlib.sha256(model.read_bytes()).hexdigest()


def test_a_model_that_becomes_shorter_within_a_tensor_is_an_error(model: Path) -> None:
    """What is read after it was cut off is the tensor that is being packed: no check between tensors would see it."""
    gguf = axiom.GGUFFile(model)
    name, info = max(((n, i) for n, i in gguf.tensors.items() if len(i.shape) == 2), key=lambda item: item[1].offset)
    rows, cols = info.shape
    tensor = (name, info.format.name, rows, cols, gguf.tensor_data(name))
    panels = np.frombuffer(format_named(info.format.name).pack(tensor[-1].reshape(rows, -1), cols), np.uint8)
    place = gguf.tensor_place(name)
    for source in (tensor, (*tensor[:-1], place)):
        room = np.zeros_like(panels)
        native.pack_matrix(source, room)
        assert np.array_equal(room, panels)
    os.truncate(model, info.offset + info.n_bytes - 1)
    with pytest.raises(OSError, match=f"{name}: the tensor cannot be read: the file ends before it"):
        native.pack_matrix((*tensor[:-1], place), room)
    with pytest.raises(axiom.ModelFormatError, match=r"expected \d+ bytes, as when it was opened, got \d+"):
        place.read()
