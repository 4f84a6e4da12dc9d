# Two commands on a fresh machine with git, make and python3: `make demo` and `make test`.
# Each makes its own virtual environment under .venvs/ and installs everything it needs there.

PYENV := $(or $(PYENV_ROOT),$(shell pyenv root 2>/dev/null),$(HOME)/.pyenv)
of_version = $(firstword $(foreach p,python$(1) $(wildcard $(PYENV)/versions/$(1).*/bin/python$(1)), \
	$(shell $(p) -c 'import sys; print(sys.executable)' 2>/dev/null)))

ifndef PYTHON
PYTHON := $(or $(shell python3 -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null), \
	$(call of_version,3.13),$(call of_version,3.12),$(call of_version,3.11))
endif

OTHERS := 3.12 3.13
PACKAGING := setup.py intake_bluesky/_version.py $(wildcard drivers/*/__init__.py)
BIN := .venvs/test/bin
# What shares something stays in one process: a class its store, a module its servers, a page of the docs its names.
WORKERS := -n auto --dist loadscope

# Tests start a hundred processes: each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all lint style types imports docs unit distribution test-others test-long fuzz bench clean
.SECONDARY:

help:
	@echo 'make demo         run real experiments, open them as a catalog, draw a picture'
	@echo 'make test         lint, documentation, and all tests'
	@echo 'make test-all     the distribution, unit tests on Python $(OTHERS), where installed, property tests at length'
	@echo 'make distribution build wheel and sdist, and use them as users do'
	@echo 'make fuzz         property tests on examples not seen before'
	@echo 'make bench        measure, and write docs/reference/benchmarks.md'
	@echo 'make docs         build the documentation in docs/_build/html'
	@echo 'make lint         ruff, mypy --strict, import-linter'
	@echo 'make clean        remove environments, caches and built files'

demo: .venvs/demo/.installed
	.venvs/demo/bin/intake-bluesky demo

# unit comes last, so that the closing line of pytest is the last thing on the screen
test: lint docs unit

lint: style types imports

style: .venvs/test/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venvs/test/.installed
	$(BIN)/mypy

imports: .venvs/test/.installed
	$(BIN)/lint-imports

docs: .venvs/test/.installed
	$(BIN)/sphinx-build -W --keep-going -j auto -b html docs docs/_build/html

unit: .venvs/test/.installed
	$(BIN)/python -m pytest $(WORKERS)

test-all: distribution test-others test-long

distribution: .venvs/test/.installed
	$(BIN)/python -m tests.packaging.check_distribution

test-others: $(OTHERS:%=test-on-%)

test-on-%:
	@if [ -z '$(call of_version,$*)' ]; then echo 'Python $* is not installed: nothing tested on it'; \
	else $(MAKE) --no-print-directory .venvs/py$*/.installed PYTHON='$(call of_version,$*)' \
		&& .venvs/py$*/bin/python -m pytest $(WORKERS) -m 'not slow and not hypothesis' tests; fi

# Those that hypothesis draws examples for, eight times as many as in `make test`.
test-long: .venvs/test/.installed
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest $(WORKERS) -m hypothesis --timeout=1200 tests

# New examples each time, 20,000 damaged files among them: what it finds becomes a test of its own.
fuzz: .venvs/test/.installed
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest $(WORKERS) -m hypothesis --timeout=3600 tests

# Answers, counts and ratios are checked, no limit is in seconds: how long something takes is the machine's business too.
bench: .venvs/test/.installed
	mkdir -p .benchmarks
	$(BIN)/python -m pytest tests/benchmarks --benchmark-json=.benchmarks/results.json
	$(BIN)/python tests/benchmarks/table.py .benchmarks/results.json docs/reference/benchmarks.md

clean:
	rm -rf .venvs build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venvs/py%/.installed: EXTRA = test
.venvs/test/.installed: EXTRA = test
.venvs/demo/.installed: EXTRA = demo
.venvs/%/.installed: $(PACKAGING)
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
		"intake-bluesky needs Python 3.11 or newer, and $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1)." \
		'Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12'; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make virtual environments.' \
		'On Debian and Ubuntu: apt install python3-venv'; exit 1; } >&2
	$(PYTHON) -m venv --clear .venvs/$*
	.venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venvs/$*/bin/uv pip install --quiet --python .venvs/$*/bin/python --editable '.[$(EXTRA)]'
	@touch $@
