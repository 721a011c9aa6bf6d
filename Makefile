# Every habit is one word. Each target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo lint test check bench peers clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv with everything in it (about 3 minutes, 8 GB)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Nightreel needs Python 3.11 or newer; got $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[offline,demo,dev,train]'
	@touch $@

demo: $(STAMP)  ## the whole way on films it makes itself, offline, about a minute
	@$(BIN)/nightreel demo

test: $(STAMP)  ## the tests, offline
	@began=$$(date +%s); $(BIN)/python -m pytest $(ARGS); code=$$?; echo "make test took $$(( $$(date +%s) - began )) s"; exit $$code

lint: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test  ## everything CI runs: format, lint, types, tests with warnings as errors

bench: $(STAMP)  ## every benchmark, one JSON object each (needs ../shared/data); FULL=1 takes four hours instead of fifteen minutes
	@for script in benchmarks/[!_]*.py; do \
	  case $$script in \
	    */extract*|*/ground_qvh*|*/ground_rivals*|*/confidence_*|*/finetune_*|*/infonce*|*/pretrain*|*/direction*) quick=$(if $(FULL),,--quick);; \
	    */all_encoders*|*/probe*|*/duplicates*|*/flow*|*/encoders*) $(if $(FULL),,echo "== $$script: only with FULL=1" >&2; continue;) quick=;; \
	    *) quick=;; esac; \
	  echo "== $$script $$quick" >&2; $(BIN)/python $$script $$quick || exit 1; \
	done

peers: $(STAMP)  ## what benchmarks/index.py compares with; without its pins, which ask for an older FAISS
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps autofaiss==2.18.0 embedding_reader fire termcolor pandas python-dateutil six

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
