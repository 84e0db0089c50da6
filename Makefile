# Accord: `make demo` shows it working, `make test` is the one ritual before a commit.
SHELL := /bin/bash
export UV_PYTHON_DOWNLOADS := never
export OPENBLAS_NUM_THREADS := 1
PYTHON ?= $(shell python3 -c 'import sys; print(sys.executable)')
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --locked --no-sync
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: venv test format lint types layers clean

.venv/.synced: pyproject.toml uv.lock
	@command -v $(UV) >/dev/null || { $(PYTHON) -m venv .uv && .uv/bin/pip install -q uv; }
	$(UV) sync --locked --quiet --python $(PYTHON)
	@touch $@

venv: .venv/.synced  ## the environment of every other target

test: venv  ## format, lint, types, layers, tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) pytest -n 2

clean:  ## everything that can be made again
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
