"""A disk image boots by every firmware from every kind of disk, and tells the native body's story; so does a model."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from axiom.bare import disk_image, gpt, grub
from axiom.bare.gpt import Partition
from axiom.bare.kernel import BareError, Status
from axiom.bare.qemu import BootDevice, Disk, Machine, run
from axiom.image_writer import pack
from tests.backends import why_not_bare
from tests.bare_stories import MODEL, PROMPT, native, story, told
from tests.processes import gone

if reason := why_not_bare():
    pytest.skip(reason, allow_module_level=True)

LIMIT_S = 120.0
SHELL = "from axiom.cli import main; main()"
N_TOKEN = 12
OPTIONS = {"prompt": PROMPT, "tokens": str(N_TOKEN), "temperature": "0", "telemetry": "none"}
NATIVE = {"temperature": 0.0, "seed": 0}


def has(firmware: str) -> bool:
    return firmware == "BIOS" or Path("/usr/share/OVMF").is_dir()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One whose model firmware loads, and one whose model the kernel reads."""
    if grub.missing():
        pytest.skip(f"no {' '.join(grub.missing())}")
    folder = tmp_path_factory.mktemp("images")
    return {
        load: disk_image.build(MODEL, folder / f"{load}.img", OPTIONS, load=load)  # type: ignore[arg-type]
        for load in ("firmware", "kernel")
    }


@pytest.mark.parametrize(
    ("firmware", "device", "load"),
    [
        ("BIOS", "sata", "firmware"),
        ("BIOS", "usb", "firmware"),
        ("BIOS", "virtio-pci", "kernel"),
        ("BIOS", "nvme", "kernel"),
        ("UEFI", "usb", "firmware"),
        ("UEFI", "nvme", "kernel"),
    ],
)
def test_the_same_story_from_a_disk_image(
    firmware: str, device: BootDevice, load: str, images: dict[str, Path]
) -> None:
    if not has(firmware):
        pytest.skip("no UEFI firmware for QEMU")
    # Emulated: see `accelerator_for_firmware`.
    machine = Machine(board="q35", accelerator="tcg", image=images[load], image_device=device, uefi=firmware == "UEFI")
    ending = run(machine, limit_s=LIMIT_S)
    assert story(ending) == native(PROMPT, N_TOKEN, **NATIVE)
    assert ("partition 3: " in ending.text) == (load == "kernel")


@pytest.mark.parametrize("attachment", ["virtio-mmio", "virtio-pci", "nvme"])
def test_the_kernel_finds_the_model_in_a_disk_image(attachment: str, images: dict[str, Path]) -> None:
    machine = Machine(OPTIONS, disks=[Disk(images["firmware"], attachment)])  # type: ignore[arg-type]
    assert story(run(machine, limit_s=LIMIT_S)) == native(PROMPT, N_TOKEN, **NATIVE)


def test_options_with_every_character_arrive(tmp_path: Path) -> None:
    if grub.missing():
        pytest.skip(f"no {' '.join(grub.missing())}")
    prompt = "Don't \"stop\", $root \\ 'now' ; {é}"
    image = disk_image.build(MODEL, tmp_path / "disk.img", {**OPTIONS, "prompt": prompt})
    ending = run(Machine(board="q35", accelerator="tcg", image=image), limit_s=LIMIT_S)
    assert story(ending) == native(prompt, N_TOKEN, **NATIVE)


def test_a_packed_model_is_taken_as_it_is(images: dict[str, Path], tmp_path: Path) -> None:
    packed = pack(MODEL, tmp_path / "model.axiom")
    image = disk_image.build(packed, tmp_path / "disk.img", OPTIONS)
    content = packed.read_bytes()
    for path in (image, images["firmware"]):
        with path.open("rb") as file:
            file.seek(42 << 20)
            assert file.read(len(content)) == content
    assert not list(tmp_path.glob(".*"))


def test_both_partition_tables_are_right(images: dict[str, Path]) -> None:
    disk = images["kernel"].read_bytes()
    n_sector = len(disk) // 512
    entries = []
    for here, other, first_entry in ((1, n_sector - 1, 2), (n_sector - 1, 1, n_sector - 33)):
        header = bytearray(disk[here * 512 : here * 512 + 92])
        assert header[:12] == b"EFI PART\0\0\1\0"
        size, checksum, _, this, that, first, last = struct.unpack_from("<IIIQQQQ", header, 12)
        assert (size, this, that, first, last) == (92, here, other, 34, n_sector - 34)
        header[16:20] = bytes(4)
        assert zlib.crc32(header) == checksum
        at, n, size, checksum = struct.unpack_from("<QIII", header, 72)
        assert (at, n, size) == (first_entry, 128, 128)
        entries.append(disk[at * 512 : at * 512 + n * size])
        assert zlib.crc32(entries[-1]) == checksum
    assert entries[0] == entries[1]
    # The protective record covers the disk, and is not marked as bootable: UEFI asks for that.
    assert disk[446:462] == struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, n_sector - 1)


def test_partitions_that_do_not_fit_are_refused() -> None:
    fits = [Partition(gpt.MODEL, "a", 34, 10), Partition(gpt.MODEL, "b", 44, 100 - 34 - 44)]
    gpt.table(fits, 100, b"")
    for wrong in ([Partition(gpt.MODEL, "a", 33, 1)], [*fits[:1], Partition(gpt.MODEL, "b", 43, 1)]):
        with pytest.raises(ValueError, match="does not fit"):
            gpt.table(wrong, 100, b"")
    with pytest.raises(ValueError, match="does not fit"):
        gpt.table([Partition(gpt.MODEL, "a", 34, 34)], 100, b"")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None if command in ("mcopy", "mmd") else "/usr/bin/it")
    monkeypatch.setattr(grub, "_UEFI", (tmp_path / "nothing", "grub-efi-amd64-bin"))
    monkeypatch.setattr(grub, "_BIOS", (tmp_path, "grub-pc-bin"))
    with pytest.raises(BareError, match=r"cannot be made without mtools grub-efi-amd64-bin .*apt-get install mtools"):
        disk_image.build(MODEL, tmp_path / "disk.img", {})
    assert not list(tmp_path.iterdir())


def axiom_command(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SHELL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S, env=env)


def test_axiom_boot_tells_the_story_of_a_model() -> None:
    result = axiom_command("boot", "--prompt", PROMPT, "-n", str(N_TOKEN), "-t", "0", "--telemetry", "none")
    assert result.returncode == 0, result
    assert told(result.stdout) == native(PROMPT, N_TOKEN, **NATIVE)
    assert "starting QEMU with " in result.stderr


def test_a_prompt_is_utf8_in_any_locale() -> None:
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = axiom_command("boot", "--prompt", "Bär", "-n", "4", "-t", "0", "--telemetry", "none", env=plain)
    assert result.returncode == 0, result
    assert told(result.stdout) == native("Bär", 4, **NATIVE)


def test_axiom_boot_takes_a_disk_image(tmp_path: Path) -> None:
    if grub.missing():
        pytest.skip(f"no {' '.join(grub.missing())}")
    image = str(tmp_path / "disk.img")
    built = axiom_command("image", "build", "-o", image, "--prompt", PROMPT, "-n", str(N_TOKEN), "-t", "0")
    assert built.returncode == 0, built
    for arguments in (["--accelerator", "tcg"], ["--firmware", "none", "--attach", "nvme", "-n", "12", "-t", "0"]):
        result = axiom_command("boot", image, "--cores", "2", *arguments)
        assert result.returncode == 0, result
        assert told(result.stdout) == native(PROMPT, N_TOKEN, **NATIVE)
        assert "axiom: 2 of 2 cores" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a program with the one that started it")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_of_axiom_boot_when_it_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    options = ["--accelerator", "tcg", "-n", "450", "--option", "ignore_eos=1"]
    # A test under nohup would hand down that SIGHUP is ignored.
    begun = f"import signal; signal.signal({number:d}, signal.SIG_DFL); " if number is not signal.SIGKILL else ""
    command = [sys.executable, "-c", begun + SHELL, "boot", *options]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("axiom: ")
        machine = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        process.send_signal(number)
        process.stdout.read()
    assert gone(machine)
    if number is not signal.SIGKILL:
        assert (process.returncode, list(tmp_path.iterdir())) == (128 + number, [])


def test_axiom_boot_ends_with_the_status() -> None:
    result = axiom_command("boot", "--option", "test=divide")
    assert (result.returncode, "division error" in result.stdout) == (Status.FAULT, True), result


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--option", "x"], 2, "expected NAME=VALUE"),
        (["--option", "tmeperature=1"], 2, "expected one of prompt, tokens"),
        (["--attach", "sata"], 2, "the kernel has no driver for sata"),
        (["--firmware", "bios"], 2, "is a model; make a disk image: axiom image build"),
        (["--board", "q35", "--attach", "virtio-mmio"], 2, "q35 has no virtio-mmio devices"),
        (["--memory", "much"], 2, "expected a number of bytes"),
        (["--memory", "20MiB"], 2, "20MiB is too little: the kernel itself needs 32MiB"),
        (["--temperature", "nan"], 2, "temperature must be finite"),
        (["--top-p", "7"], 2, "top_p must be from 0 to 1"),
        (["--prompt", "x" * 5000], 2, "and the kernel takes 4000: shorten the prompt"),
        (["--seed", str(1 << 64)], 2, "not in the range"),
        (["nothing.gguf"], 1, "nothing.gguf: No such file"),
    ],
)
def test_wrong_command_lines_are_told(arguments: list[str], code: int, expected: str) -> None:
    result = axiom_command("boot", *arguments)
    assert (result.returncode, expected in result.stderr) == (code, True), result


def test_options_of_a_disk_image_are_inside(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(gpt.table([], 100, b"")[0])
    for arguments, expected in (
        (["--prompt", "x"], "has its options inside"),
        (["--attach", "module"], "firmware starts from sata, usb, virtio-pci or nvme"),
        (["--board", "microvm"], "microvm has no firmware"),
        (["--firmware", "none", "--attach", "module"], "a disk image is no module"),
    ):
        result = axiom_command("boot", str(path), *arguments)
        assert (result.returncode, expected in result.stderr) == (2, True), result


def test_a_disk_image_that_is_cut_off_is_not_started(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(gpt.table([], 100, b"")[0])
    for arguments in ([], ["--firmware", "none"]):
        result = axiom_command("boot", str(path), *arguments)
        assert (result.returncode, "expected 51200 bytes, got 17408; it is cut off" in result.stderr) == (1, True), (
            result
        )


def test_a_disk_image_is_not_written_over_its_model(tmp_path: Path) -> None:
    if grub.missing():
        pytest.skip(f"no {' '.join(grub.missing())}")
    model = tmp_path / "model.gguf"
    model.write_bytes(MODEL.read_bytes())
    result = axiom_command("image", "build", str(model), "-o", str(model))
    assert (result.returncode, "expected another file than model.gguf" in result.stderr) == (1, True), result
    assert model.read_bytes() == MODEL.read_bytes()
