# make train    from nothing to a trained model and a sample of its text, about two minutes after installation
# make test     everything that must hold: style, types, imports, tests, comparisons with torch, transformers, TensorBoard
# make check    style, types and imports alone
# make bench    the benchmarks but the longest two; each prints one JSON object
# make coverage shows what of actors/ the tests do not run, and fails below 97 per cent
# make mutation damages parts of the runtime, one place at a time, and lists the damage that no test noticed
# make setup    the virtual environment with the project in it
# make clean    remove what was made here, models in runs/ excepted

PYTHON  ?= python3
SPHERES ?= 2

VENV  := .venv
BIN   := $(VENV)/bin
MODEL := runs/builtin

WIRE_TESTS := $(wildcard tests/unit/actors/test_wire*.py) tests/unit/actors/test_messages.py

BENCHMARKS := $(filter-out %/corpus.py %/soak.py,$(sort $(wildcard tests/benchmarks/*.py)))

.PHONY: help setup train test check coverage bench mutation clean system

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(VENV)/.installed

train: $(VENV)/.installed
	$(BIN)/crystalline train --out $(MODEL) --spheres $(SPHERES) --force
	@echo
	@echo 'A sample, from a new process:'
	$(BIN)/crystalline generate $(MODEL) --prompt 'The function returns' --tokens 80 --temperature 0.7 --seed 1
	@echo
	@echo 'The model is in $(MODEL). Talk to it:'
	@echo "  $(BIN)/crystalline generate $(MODEL) --prompt 'A class is' --tokens 100"

# pytest comes last, so that its closing line is the last thing on the screen.
test: system check $(VENV)/.installed-conformance
	$(BIN)/python tests/conformance/make_fixtures.py --check
	$(BIN)/python tests/conformance/check_transformers.py
	$(BIN)/python tests/conformance/check_sampling.py
	$(BIN)/python tests/conformance/check_engine.py
	$(BIN)/python tests/conformance/check_models.py --kinds --without llama --tokens 40
	$(BIN)/python tests/conformance/check_tensorboard.py
	$(BIN)/python tests/conformance/check_chat.py --templates-only
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases --exclude tests/conformance tests examples
	$(BIN)/lint-imports

# The tests of the runtime but the longest ones, which run no other branches. Their limit is kept by a thread: an
# error raised by a signal inside the tracer would leave its lock taken, and everything would wait for it.
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m coverage run -m pytest -q -o timeout_method=thread -o timeout=600 \
	  tests/unit/actors tests/protocol tests/simulation --ignore-glob='*/test_training_*' \
	  --ignore=tests/simulation/test_laws_under_schedules.py --ignore=tests/simulation/test_search_command.py \
	  --deselect=tests/simulation/test_exploration.py::test_the_laws_hold_in_every_schedule \
	  --deselect=tests/simulation/test_exploration.py::test_the_laws_hold_wherever_a_fault_comes
	$(BIN)/python -m coverage report

# What the tests need and pip does not have: a model checker with its compiler, a browser with what drives it.
system:
	@missing=; \
	command -v spin >/dev/null || missing="$$missing spin"; \
	printf '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || missing="$$missing gcc libc6-dev"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v chromedriver >/dev/null || missing="$$missing chromium-driver"; \
	test -z "$$missing" || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing$$missing" && \
	    apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; } || \
	  { echo "error: the tests need$$missing: as root, apt-get install -y --no-install-recommends$$missing" >&2; \
	    exit 1; }

# All of them, also behind one that misses its goal; those that take hours are for their own commands.
bench: $(VENV)/.installed-peers
	@missed=; for script in $(BENCHMARKS); do \
	  echo "$$script"; $(BIN)/python "$$script" || \
	    { code=$$?; test $$code != 130 || exit 130; missed="$$missed $$script"; }; \
	done; \
	test -z "$$missed" || { echo "error: a goal was missed, or nothing measured:$$missed" >&2; exit 1; }

# `mutmut show NAME` prints one of those that survived; what is known of them is in docs/experiments.md.
mutation: $(VENV)/.installed-mutation
	rm -rf mutants
	$(BIN)/mutmut run
	@$(BIN)/mutmut results --all true | sed -E 's/^ *actors\.([a-z]+)\..*: /\1 /' | sort | uniq -c
	@$(BIN)/mutmut results
	$(BIN)/python tests/conformance/mutate.py actors/wire.py $(WIRE_TESTS)
	$(BIN)/python tests/conformance/mutate.py actors/messages.py $(WIRE_TESTS)

# The stamps make a second call quick; they are out of date as soon as pyproject.toml changes.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing crystalline into $(VENV)'
	@$(BIN)/python -m pip install -qq --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing crystalline and its tools into $(VENV)'
	@$(BIN)/python -m pip install -qq --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-conformance: $(VENV)/.installed-dev
	@echo 'Installing torch, transformers and tensorboard, to compare with, into $(VENV)'
	@$(BIN)/python -m pip install -qq --editable '.[dev,conformance]'
	@touch $@

$(VENV)/.installed-peers: $(VENV)/.installed-dev
	@echo 'Installing torch, transformers, pykka, xoscar and llama.cpp, to measure beside, into $(VENV)'
	@echo 'llama.cpp is compiled, which takes some minutes and a C++ compiler'
	@$(BIN)/python -m pip install -qq --editable '.[dev,peers,generation-peers]'
	@touch $@

$(VENV)/.installed-mutation: $(VENV)/.installed-dev
	@echo 'Installing mutmut into $(VENV)'
	@$(BIN)/python -m pip install -qq --editable '.[dev,mutation]'
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is not Python 3.11 or newer: name one, as in `make PYTHON=python3.12`' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo 'error: $(PYTHON) cannot make a virtual environment: install its venv module' >&2; \
	    rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) build dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
