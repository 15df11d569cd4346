# Everything that a person or a build server runs. `make` alone lists it.
# To choose an interpreter: make setup PYTHON=/usr/bin/python3.13

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# scikit-learn's and BLAS' threads fight over few cores: one thread is up to forty times faster.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_PARALLEL ?= -n auto --maxprocesses=4

# The first interpreter that is new enough and can make environments. Wheels of the pinned versions
# exist for 3.11 to 3.14.
define FIND_PYTHON
found=; no_venv=; \
for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14); do \
  "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' >/dev/null 2>&1 || continue; \
  if "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$candidate; break; fi; \
  no_venv=$$candidate; \
done; \
if [ -z "$$found" ] && [ -n "$$no_venv" ]; then \
  echo "make setup: $$no_venv cannot create a virtual environment: its module ensurepip is missing." >&2; \
  echo "On Debian and Ubuntu: apt-get install python3-venv; then run make again." >&2; \
  exit 1; \
fi; \
if [ -z "$$found" ]; then \
  echo "make setup: needs Python 3.11 to 3.14; looked for: $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)." >&2; \
  echo "Install one, or name it: make setup PYTHON=/path/to/python3" >&2; \
  exit 1; \
fi
endef

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(STAMP) ## Create .venv with pinned versions (does nothing when up to date)

# An environment holds its own path and a link to its interpreter: after a move of the folder, or an
# upgrade that took the interpreter away, it is made anew.
SOUND := [ "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -c '' 2>/dev/null
ifneq ($(shell $(SOUND) && echo yes),yes)
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
	@if ! { $(SOUND); }; then \
	  $(FIND_PYTHON); \
	  echo "make setup: creating $(VENV) with $$found ($$("$$found" --version 2>&1))"; \
	  "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "make setup: installing pinned versions into $(VENV) (one to three minutes the first time)"
	@$(BIN)/python -m pip install -qq --progress-bar off -c constraints.txt hatchling editables
	@$(BIN)/python -m pip install -qq --progress-bar off -c constraints.txt --no-build-isolation -e '.[dev,fast,keda]'
	@echo "$(CURDIR)" >$(STAMP)
	@echo "make setup: done; the command is $(BIN)/autoscaler"

.PHONY: demo
demo: setup ## Replay a bundled day of traffic with two policy files and compare them
	@$(BIN)/autoscaler demo

.PHONY: fmt
fmt: setup ## Format the code and mend what can be mended by machine
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format --quiet .

.PHONY: lint
lint: setup ## Style, import directions, declared dependencies, spelling, YAML
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/yamllint --strict .

.PHONY: types
types: setup ## Types, strictly, tests included
	$(BIN)/mypy

.PHONY: check
check: lint types ## What to run before a commit: lint, types, the quick tests
	HYPOTHESIS_PROFILE=dev $(BIN)/pytest $(PYTEST_PARALLEL) -m "not slow"

# The floors are enforced: 95 % of lines and branches over all, 100 % of the core and the policies.
.PHONY: test
test: lint types ## Everything: lint, types, all tests, coverage floors
	HYPOTHESIS_PROFILE=ci $(BIN)/pytest $(PYTEST_PARALLEL) --cov --cov-report= --cov-fail-under=0
	$(BIN)/coverage report
	$(BIN)/coverage report --include='autoscaler/core/*,policies/*' --fail-under=100

.PHONY: bench
bench: setup ## How fast the simulator, the decisions, the live controller and the adapter are here (twelve minutes)
	@$(BIN)/python -m simulations.bench
	@$(BIN)/python -m tests.bench.live
	@$(BIN)/python -m tests.metrics_adapter.bench

.PHONY: clean
clean: ## Remove .venv, caches and build output
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
