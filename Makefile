# `make hyperfit` shows the phenomenon on the built-in model; `make test` runs the tests.
# Either sets up .venv on its first call and reuses it afterwards.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TORCH := $(shell sed -n 's/^ *\(torch>.*\)/\1/p' setup.cfg)

.PHONY: hyperfit test lint install clean

hyperfit: install
	PATH="$(CURDIR)/$(BIN):$$PATH" launch/builtin.sh

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

install: $(INSTALLED)

# Without a GPU the default torch wheel brings gigabytes of CUDA packages; PyTorch's own index has a CPU build.
$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "hyperfitting needs Python 3.10 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	command -v nvidia-smi >/dev/null || $(BIN)/python -m pip install --quiet --timeout 5 --retries 0 \
		--index-url https://download.pytorch.org/whl/cpu "$(TORCH)" 2>/dev/null || \
		echo "PyTorch's CPU wheel index did not answer: installing torch from the default index instead."
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv runs generations scores *.egg-info
