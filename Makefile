# Accord: `make demo` shows it working, `make test` is the one ritual before a commit.
SHELL := /bin/bash
export UV_PYTHON_DOWNLOADS := never
export OPENBLAS_NUM_THREADS := 1
PYTHON ?= $(shell python3 -c 'import sys; print(sys.executable)')
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --locked --no-sync
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: demo test soak venv bench clean

demo: debian venv  ## a broker, an aggregator and 12 devices train on Fashion-MNIST while devices are killed
	$(RUN) accord demo

.venv/.synced: pyproject.toml uv.lock
	@command -v $(UV) >/dev/null || { $(PYTHON) -m venv .uv && .uv/bin/pip install -q uv; }
	$(UV) sync --locked --quiet --python $(PYTHON)
	@touch $@

venv: .venv/.synced  ## the environment of every other target

# What the demo and the tests use of Debian: two brokers, a data set, a database server.
# Without root or apt the demo says what it lacks.
.PHONY: debian
debian:
	@if ! { test -x /usr/sbin/mosquitto && test -x /usr/sbin/nats-server && test -d /usr/share/datasets/fashion-mnist && test -n "$(wildcard /usr/lib/postgresql/*/bin/initdb)"; } && command -v apt-get >/dev/null; then \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto nats-server dataset-fashion-mnist postgresql >/dev/null; \
	fi

# Formatting first, as it takes a second. Then what needs nothing of the suite runs beside it, and is shown when it ends:
# types, and the device on its other Pythons. The suite's processes wait for one another now and then, so it has three
# workers for two cores; the one that has nothing left takes tests from the others. With `set -m` a Ctrl-C ends both, and
# nothing is deaf to it: some tests send it.
test: debian venv  ## format, lint, types, layers, tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	@set -m; $(MAKE_COMMAND) --no-print-directory -O -j 2 types test-device test-tflite & beside=$$!; \
	  $(RUN) pytest -n 3 --dist worksteal & suite=$$!; \
	  trap 'kill -INT -$$suite -$$beside' INT TERM; wait $$suite; ended=$$?; wait $$beside && exit $$ended

.PHONY: types
types: venv
	$(RUN) mypy
	$(RUN) lint-imports

# The device on its oldest Python, with the oldest cbor2 that it may have. What no device runs is left out.
.PHONY: test-device
PYTHON310 := $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python3.10 /usr/bin/python3.10))
DEVICE := UV_PROJECT_ENVIRONMENT=.venv-device
test-device: uv.lock
ifeq ($(PYTHON310),)
	@echo "no Python 3.10 here: the device's tests on it are left out"
else
	$(DEVICE) $(UV) sync --locked --quiet --no-default-groups --group device --python $(PYTHON310)
	$(UV) pip install --quiet --python .venv-device/bin/python 'cbor2==5.9.0'
	.venv-device/bin/python -m pytest -q -n 2 --dist worksteal tests/accord tests/edge_sdk tests/wire tests/secagg tests/update tests/bundle tests/runtimes tests/vectors tests/hostile/test_bytes.py tests/link/test_memory.py \
	  $(addprefix --ignore=tests/,secagg/test_secrecy.py secagg/test_planner.py secagg/test_aggregator_stages.py vectors/test_broker_transcript.py)
endif

# tflite-runtime needs numpy 1 and Python 3.11 or older, so an environment of its own, which can't make bundles: the
# environment of every other target makes them, into a folder that goes away (test_signatures.py and test_memory.py make their own; test_binding.py is onnxruntime's).
.PHONY: test-tflite
PYTHON311 := $(firstword $(wildcard $(HOME)/.pyenv/versions/3.11.*/bin/python3.11 /usr/bin/python3.11) $(PYTHON310))
TFLITE := UV_PROJECT_ENVIRONMENT=.venv-tflite
test-tflite: venv
ifeq ($(PYTHON311),)
	@echo "no Python 3.11 or 3.10 here: the tests of tflite-runtime are left out"
else
	$(TFLITE) $(UV) sync --locked --quiet --no-default-groups --group legacy --extra tflite --python $(PYTHON311)
	@folder=$$(mktemp -d) && trap 'rm -rf $$folder' EXIT && \
	  $(RUN) python -m tests.runtimes.bundles $$folder && \
	  ACCORD_BUNDLES=$$folder .venv-tflite/bin/python -m pytest -q -n 2 --dist worksteal tests/runtimes tests/update --ignore=tests/runtimes/test_signatures.py \
	    --ignore=tests/runtimes/test_memory.py --ignore=tests/runtimes/test_binding.py
endif

bench: venv  ## every benchmark, one JSON object each
	@for script in benchmarks/*.py; do echo "$$script"; $(RUN) python $$script --json | tail -n 1; done

soak: debian venv  ## every long check in full: one JSON object with counts and seeds
	@$(RUN) python -m tests.soak

clean:  ## everything that can be made again
	rm -rf .venv .venv-device .venv-tflite .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
