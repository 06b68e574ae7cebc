# make demo     the whole loop on a real model, from nothing: at most 15 minutes on two cores
# make test     lint, types, and all tests but the long ones: 12 minutes on two cores, 30 on slow ones
# make test-long  the long ones: runs that lose nodes, the head or the command, an object store, other harnesses
# make bench    learner speed against padded batches, TRL and the bare loop: an hour or two on an idle machine
# make install  the environment alone, in .venv
# make clean    remove environments and caches; runs and the model cache stay
# make docs     the documentation as a site, into build/site; it needs no network to be read
# make diagram  the import graph, into docs/architecture.md
# make constraints   the newest versions that pyproject.toml allows, into constraints.txt; then run make test
#
# PYTHON       the interpreter that makes .venv: 3.11, 3.12 or 3.13
# TORCH_INDEX  a package index for torch, such as https://download.pytorch.org/whl/cpu to keep CUDA libraries off a
#              machine that has no use for them. Empty: pip's own settings, which hold for all else too.
# BENCH        options of the benchmark, such as '--rounds 1 --settings logged'

PYTHON ?= python3.11
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PIP_INSTALL = -m pip install --constraint constraints.txt
DEMO := demo/train.yaml
TRL := trl==1.16.0
TRL_VENV := .bench-venv
CLIENT_VENV := .client-venv
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
LAYERS := tests/gpu tests/integration tests/e2e tests/benchmarks
BENCH ?=

# Where this is set, each process of a test would compile all sources anew: a run of Ray has a dozen processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-long lint bench install browser docs diagram constraints clean

# A cache elsewhere than in the specification is told to it.
demo: install
	$(BIN)/trialign model
	$(BIN)/trialign train $(DEMO) --resume $(if $(TRIALIGN_CACHE),--set model="$$($(BIN)/trialign model)")

test: lint browser $(CLIENT_VENV)/installed
	$(PYTEST) -m 'not long' tests/unit
	$(PYTEST) --dist loadfile --durations=12 -m 'not long' $(LAYERS)

test-long: install
	$(PYTEST) --dist loadfile --durations=12 -m long tests

# For the tests of the page; without one they are skipped, and say so.
browser:
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
	  { apt-get update -q && apt-get install -qy --no-install-recommends chromium; } || \
	  echo 'chromium: cannot be installed here, so the tests of the page are skipped' >&2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

bench: install $(TRL_VENV)/installed
	$(BIN)/python -m tests.benchmarks.learner_speed $(BENCH)

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

diagram: install
	$(BIN)/python docs/diagram.py

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python $(PIP_INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python $(PIP_INSTALL) --editable '.[dev]'
	touch $@

# Apart from the project's, with the same versions of what both are made of.
$(TRL_VENV)/installed: constraints.txt Makefile | $(INSTALLED)
	$(BIN)/python -m venv --clear $(TRL_VENV)
	$(TRL_VENV)/bin/python $(PIP_INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(TRL_VENV)/bin/python $(PIP_INSTALL) $(TRL) transformers peft accelerate
	touch $@

# A generator of clients that wants other versions than the project.
$(CLIENT_VENV)/installed: Makefile | $(INSTALLED)
	$(BIN)/python -m venv --clear $(CLIENT_VENV)
	$(CLIENT_VENV)/bin/python -m pip install openapi-python-client==0.29.1
	touch $@

# A local version, such as torch's +cpu, is left out: every build of a release has to satisfy the file.
constraints:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --editable '.[dev]'
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+.*//' > constraints.txt

$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON): not found. Install Python 3.11, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "$(PYTHON): is not Python 3.11, 3.12 or 3.13. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON): has no venv or ensurepip. Install the package python3-venv." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

clean:
	rm -rf $(VENV) .bench-venv .client-venv .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
