# `make hyperfit` shows the phenomenon on the built-in model, or on MODEL=FOLDER_OR_HUB_ID [DATASET=…]; `make test` runs the tests,
# `make test-fast` those that take less than a minute in all.
# Either sets up .venv on its first call and reuses it afterwards.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Where pip finds PyTorch's builds for CPUs: its sources here, or else PyTorch's own index.
CPU_VERSION = $(BIN)/python -m pip index versions torch $(1) 2>/dev/null | grep -o '[0-9.]*+cpu' | head -1
PYTORCH_INDEX := --index-url https://download.pytorch.org/whl/cpu --timeout 5 --retries 0

.PHONY: hyperfit test test-fast lint install clean

hyperfit: install
	PATH="$(CURDIR)/$(BIN):$$PATH" launch/whole_path.sh

# Two processes share the tests, file by file: nearly all of them wait for imports of processes that they start.
TESTS := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: install
	$(TESTS)

test-fast: install
	$(TESTS) -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

install: $(INSTALLED)

# Without a GPU the default torch wheel brings gigabytes of CUDA packages: the newest CPU build that pip finds is installed before.
$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "hyperfitting needs Python 3.10 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	if ! command -v nvidia-smi >/dev/null; then \
		version=$$($(call CPU_VERSION)); index=; \
		[ -n "$$version" ] || { index="$(PYTORCH_INDEX)"; version=$$($(call CPU_VERSION,$(PYTORCH_INDEX))); }; \
		if [ -n "$$version" ]; then $(BIN)/python -m pip install --quiet $$index "torch==$$version"; \
		else echo "pip finds no CPU build of PyTorch: installing torch from the default index instead."; fi; \
	fi
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv runs generations scores *.egg-info
