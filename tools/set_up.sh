#!/bin/sh
# Finds what the build needs on this machine, and says what to do about what is missing.
#
#   set_up.sh environment DIR   make a virtual environment with the build tool in DIR
#   set_up.sh check-rust        a Rust toolchain and a linker
#   set_up.sh check-c++         a C++ compiler, for the other engines that tests compare with
#   set_up.sh bare              what starts the bare kernel and makes images that boot; without it, its tests are skipped
#   set_up.sh arm               what builds and runs programs for 64-bit ARM; without it, their test is skipped
#
# A system package is installed only where that needs no password: by root, with apt-get.
set -eu

say() {
    echo "set-up: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

# install_system PACKAGE WHAT: installs, or says what to install.
install_system() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $1: $2 is missing"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$1" >/dev/null
    else
        fail "$2 is missing; install it (on Debian and Ubuntu: apt-get install $1) and run make again"
    fi
}

# The first Python that is new enough; AXIOM_PYTHON names another.
find_python() {
    for python in ${AXIOM_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    found=$("${AXIOM_PYTHON:-python3}" --version 2>/dev/null || echo none)
    fail "Python 3.10 or later is needed, found: $found; install one, or name it with AXIOM_PYTHON=/path/to/python3"
}

# want_system PACKAGE WHAT: installs, or says that things will be left out.
want_system() {
    (install_system "$1" "$2") || say "going on without $2"
}

# QEMU, firmware for it, and GRUB with the tools that it makes images with.
want_bare() {
    command -v qemu-system-x86_64 >/dev/null || want_system qemu-system-x86 QEMU
    [ -d /usr/share/OVMF ] || want_system ovmf "UEFI firmware for QEMU"
    command -v grub-mkimage >/dev/null || want_system grub-common grub-mkimage
    [ -d /usr/lib/grub/i386-pc ] || want_system grub-pc-bin "GRUB for BIOS"
    [ -d /usr/lib/grub/x86_64-efi ] || want_system grub-efi-amd64-bin "GRUB for UEFI"
    command -v mformat >/dev/null || want_system mtools mtools
    command -v objdump >/dev/null || want_system binutils objdump
}

# A linker, a C library and an emulator, where this machine is not ARM itself.
want_arm() {
    case "$(uname -m)" in aarch64 | arm64) return ;; esac
    command -v aarch64-linux-gnu-gcc >/dev/null || want_system gcc-aarch64-linux-gnu "a linker for ARM"
    [ -e /usr/aarch64-linux-gnu/lib/crt1.o ] || want_system libc6-dev-arm64-cross "a C library for ARM"
    command -v qemu-aarch64-static >/dev/null || command -v qemu-aarch64 >/dev/null ||
        want_system qemu-user-static "an emulator of ARM"
}

make_environment() {
    python=$(find_python)
    say "making $1 with $("$python" --version)"
    # Distributions split what makes environments off from Python.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_system "python$version-venv" "Python's venv"
    fi
    "$python" -m venv --clear "$1"
    "$1/bin/python" -m pip install --quiet 'maturin>=1.16,<2'
}

check_rust() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        fail "cargo is installed but not on the PATH; run: . \"${CARGO_HOME:-$HOME/.cargo}/env\""
    fi
    command -v cargo >/dev/null || fail "a Rust toolchain is missing; install one from https://rustup.rs and run make again"
    minor=$(rustc --version | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    [ "${minor:-0}" -ge 95 ] || fail "Rust 1.95 or later is needed, found: $(rustc --version); run: rustup update"
    # Rust links with the C compiler.
    command -v cc >/dev/null || install_system gcc "a linker (cc)"
}

case "${1:-}" in
environment) make_environment "$2" ;;
check-rust) check_rust ;;
bare) want_bare ;;
arm) want_arm ;;
check-c++) command -v c++ >/dev/null || install_system g++ "a C++ compiler" ;;
*) fail "expected environment, check-rust, check-c++, bare or arm, got '${1:-}'" ;;
esac
