#!/bin/sh
# Runs the core's lints and tests on 64-bit ARM: directly where this machine is one, otherwise cross-compiled and under
# qemu-user.
#
# Needs Rust's standard library for the target, a cross linker with a C library, and the emulator. What is missing is
# installed where that needs no password (rustup; apt-get as root); if that fails, the run is skipped and says why.
set -eu
cd "$(dirname "$0")/.."

TARGET=aarch64-unknown-linux-gnu

skip() {
    echo "test-neon: SKIPPED, nothing was tested: $*" >&2
    exit 0
}

# install PACKAGE: tries to.
install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "test-neon: installing $1" >&2
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$1"; } >&2 || true
    fi
}

# found COMMAND...: the path of the first that there is.
found() {
    for command in "$@"; do
        command -v "$command" && return
    done
    return 1
}

# need PACKAGE COMMAND...: the path of one of the commands, from that Debian package if it must be.
need() {
    package=$1
    shift
    found "$@" && return
    install "$package"
    found "$@"
}

case "$(uname -m)" in
aarch64 | arm64)
    cargo clippy -p axiom-core --all-targets -- -D warnings
    exec cargo test -p axiom-core
    ;;
esac

if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$TARGET" ]; then
    command -v rustup >/dev/null || skip "this Rust has no standard library for $TARGET, and there is no rustup to add it"
    rustup target add "$TARGET" || skip "rustup could not add the standard library for $TARGET"
fi
linker=$(need gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc) || skip "no cross linker; on Debian and Ubuntu: apt-get install gcc-aarch64-linux-gnu"
emulator=$(need qemu-user-static qemu-aarch64-static qemu-aarch64) || skip "no emulator; on Debian and Ubuntu: apt-get install qemu-user-static"
library=/usr/aarch64-linux-gnu
if [ ! -e "$library/lib/crt1.o" ]; then
    install libc6-dev-arm64-cross
    [ -e "$library/lib/crt1.o" ] || skip "no C library in $library; on Debian and Ubuntu: apt-get install libc6-dev-arm64-cross"
fi

cargo clippy --target "$TARGET" -p axiom-core --all-targets -- -D warnings
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="$linker"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$emulator -L $library"
exec cargo test --target "$TARGET" -p axiom-core
