# Targets are listed by a bare `make`. Each makes what it needs, its own virtual environment included.

PYTHON ?= python3
VENV   ?= .venv
PY      = $(VENV)/bin/python
CC     ?= cc

.DEFAULT_GOAL := help
.PHONY: help build test test-c asan tsan clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check setuptools wheel pytest pytest-timeout
	@touch $@

build: $(VENV)/.ready  ## build cmp._core in place
	@$(PY) setup.py -q build_ext --inplace

test: build  ## run the tests (C layers' and Python's)
	$(PY) -m pytest -q

test-c:  ## run the C layers' tests
	@$(MAKE) -s -C tests/c CC="$(CC)"

asan:  ## the same under AddressSanitizer and UBSan
	@$(MAKE) -s -C tests/c CC="$(CC)" VARIANT=asan

tsan:  ## the same under ThreadSanitizer: processes become threads
	@$(MAKE) -s -C tests/c CC="$(CC)" VARIANT=tsan

# bench: BENCH passes options on (BENCH="--rows queue --repeat 3 --peers"); NumPy and the peers are welcome, not needed.
.PHONY: bench
$(VENV)/.bench: $(VENV)/.ready
	-for package in $$(sed -n 's/^bench = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",'); do \
	    $(PY) -m pip install -q --disable-pip-version-check $$package || echo "(without $$package)"; done
	@touch $@

bench: build $(VENV)/.bench  ## compare with the standard library: make bench BENCH="--rows queue --peers"
	$(PY) bench/run.py $(BENCH)

clean:  ## remove what was built
	rm -rf build $(VENV) cmp/*.so *.egg-info
