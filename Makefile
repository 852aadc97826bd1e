# Every entry to the project; `make` alone lists them. Set-up happens by itself, in this folder, and `make clean` removes it:
# the environments .venv and .venv-peers, what Rust builds in target/ and bootkernel/target/, the extension and the kernel in
# python/axiom, the wheel in dist/, and caches. Rust and pip keep what they download where they always do. Run by root, set-up
# also installs packages of the system that are missing (tools/set_up.sh).

VENV := .venv
PYTHON := $(VENV)/bin/python
export PROMPT ?= Once upon a time
PYTEST_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What the compiled part is made of. The package's own Python files are used where they lie.
SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find crates -name '*.rs' -o -name '*.toml')

# The bare kernel is for x86-64, and is built where the toolchain makes such programs.
KERNEL := python/axiom/bare/axiom-kernel.elf
KERNEL_SOURCES := tools/build_kernel.py $(shell find bootkernel -path bootkernel/target -prune -o -type f -print) \
    $(shell find crates/axiom-core/src -name '*.rs') crates/axiom-core/Cargo.toml
ifeq ($(shell uname -sm),Linux x86_64)
TESTED_KERNEL := $(KERNEL)
endif

.DEFAULT_GOAL := help
.PHONY: help run kernel boot test-avx512 test-avxvnni test test-arm test-peers lint bench wheel clean
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.built ## Tell a story with the model in the package; PROMPT="..." begins another
	@$(VENV)/bin/axiom run "$$PROMPT"

kernel: $(KERNEL) ## Build the bare kernel

boot: $(VENV)/.built $(KERNEL) ## Boot the bare kernel with the default model in QEMU; PROMPT="..." as for run
	@sh tools/set_up.sh bare
	@$(VENV)/bin/axiom boot --prompt "$$PROMPT"

test: $(VENV)/.test $(TESTED_KERNEL) ## Run all tests of both languages; PYTEST_ARGS="-k name" for some
	@sh tools/set_up.sh bare
	@$(PYTHON) tools/run_tests.py $(PYTEST_ARGS)

test-peers: wheel ## Build other engines in an environment of their own, and compare with them
	@sh tools/set_up.sh check-c++
	@$(PYTHON) tests/peers/environment.py --axiom dist
	@.venv-peers/bin/python -m pytest -p no:cacheprovider tests/peers $(PYTEST_ARGS)

test-arm: $(VENV)/.test ## Run the core's tests, the wheel and its identity on 64-bit ARM, emulated where this machine is none
	@sh tools/set_up.sh arm
	@$(PYTHON) tools/test_arm.py

test-avx512: $(VENV)/.built ## Check the AVX-512 kernels, on the bare kernel in an emulator where this processor lacks it
	@$(PYTHON) tools/test_emulated.py avx512

test-avxvnni: $(VENV)/.built ## Check the AVX-VNNI kernels likewise
	@$(PYTHON) tools/test_emulated.py avxvnni

lint: $(VENV)/.lint ## Check formatting, lints, types and stubs
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd bootkernel && cargo fmt --check && cargo clippy --all-targets -- -D warnings
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m mypy.stubtest axiom._native --mypy-config-file pyproject.toml

bench: wheel ## Time axiom and llama.cpp in alternation, beside this machine's read bandwidth
	@sh tools/set_up.sh check-c++
	@$(PYTHON) tests/peers/environment.py --axiom dist
	@.venv-peers/bin/python -m benches

wheel: $(VENV)/.built $(TESTED_KERNEL) ## Build the wheel that users install, into dist/
	@rm -rf dist
	@$(VENV)/bin/maturin build --release --quiet --out dist

clean: ## Remove everything that was built or installed
	rm -rf target bootkernel/target $(KERNEL) dist $(VENV) .venv-peers .pytest_cache .mypy_cache .ruff_cache .hypothesis python/axiom/_native*.so
	find python tests benches tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@sh tools/set_up.sh environment $(VENV)
	@touch $@

$(VENV)/.built: $(VENV)/.made $(SOURCES)
	@sh tools/set_up.sh check-rust
	@echo "building the engine (a minute or two, and again only when it changes)" >&2
	@. $(VENV)/bin/activate && PIP_QUIET=1 maturin develop --release --quiet
	@touch $@

$(KERNEL): $(KERNEL_SOURCES) | $(VENV)/.made
	@sh tools/set_up.sh check-rust
	@$(PYTHON) tools/build_kernel.py $@

# What is installed here, and no other package of that name.
INSTALLED := $(PYTHON) -c 'import axiom; print(axiom.__version__)'

$(VENV)/.test: $(VENV)/.built pyproject.toml
	@$(PYTHON) -m pip install --quiet "axiom[test]==$$($(INSTALLED))"
	@touch $@

$(VENV)/.lint: $(VENV)/.test pyproject.toml
	@$(PYTHON) -m pip install --quiet "axiom[lint]==$$($(INSTALLED))"
	@touch $@
