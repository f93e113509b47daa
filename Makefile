# Each target makes the virtual environment that it needs, once. `make demo ARGS="--data DIR"` passes options on.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Processes that tests start import all of Flambeau, which takes three times as long if nobody may keep what Python has compiled.
unexport PYTHONDONTWRITEBYTECODE
# Python compiles a module when it is first imported; to compile all that is installed takes longer than to install it (23 of 43 s for `.venv`).
PIP := -m pip --disable-pip-version-check install --quiet --no-compile
ARGS ?=
# A smaller download of PyTorch, where its own package index can be reached: PARITY_PIP="--extra-index-url URL"
PARITY_PIP ?=

.PHONY: demo test test-all lint format parity packages suites bench docs clean

demo: .venv/.demo  ## train on handwritten digits and show what came of it
	.venv/bin/python -m flambeau examples/demo.py $(ARGS)

test: .venv/.dev  ## the test suite; of tests with many cases every second or fourth one
	.venv/bin/python -m pytest -n $(JOBS) --dist worksteal --some $(ARGS)

test-all: .venv/.dev  ## the test suite with all cases
	.venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: .venv/.dev  ## ruff's lint and format, and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/.dev  ## let ruff mend what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

docs: .venv/.dev  ## run every example in the documents and the docstrings (torch.ops has any attribute, also those that pytest asks for)
	.venv/bin/python -m pytest --doctest-modules --doctest-glob='*.md' -q --ignore=flambeau/ops.py README.md README.zh-CN.md docs flambeau

parity: .parity-venv/.torch  ## compare with PyTorch, operator by operator and module by module
	.parity-venv/bin/python -m parity --jobs $(JOBS) $(ARGS)

packages: .parity-venv/.packages  ## packages that import torch, on both sides: the same numbers
	.parity-venv/bin/python -m parity.packages

suites: .parity-venv/.suites  ## packages' own test suites, on both sides: which tests pass on PyTorch alone
	.parity-venv/bin/python -m parity.packages.suites --jobs $(JOBS) $(ARGS)

bench: .parity-venv/.torch  ## the same work on Flambeau and on PyTorch, in turn
	.parity-venv/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv .parity-venv build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis

.venv/.dev: .venv/.demo
	.venv/bin/python $(PIP) -e '.[demo,dev]'
	@touch $@

.venv/.demo: pyproject.toml
	$(call make_venv,.venv)
	.venv/bin/python $(PIP) -e '.[demo]'
	@touch $@

.parity-venv/.torch: pyproject.toml
	$(call make_venv,.parity-venv)
	.parity-venv/bin/python $(PIP) $(PARITY_PIP) -e '.[demo,parity]'
	@touch $@

.parity-venv/.packages: .parity-venv/.torch parity/packages/requirements.txt
	.parity-venv/bin/python $(PIP) -r parity/packages/requirements.txt torch==2.13.0
	@touch $@

.parity-venv/.suites: .parity-venv/.packages parity/packages/suites-requirements.txt
	.parity-venv/bin/python $(PIP) -r parity/packages/suites-requirements.txt torch==2.13.0
	@touch $@

define make_venv
@test -n "$(PYTHON)" || { echo "Flambeau needs Python 3.10 to 3.13 with its venv and ensurepip modules; name one with PYTHON=…"; exit 1; }
test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
endef
