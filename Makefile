# Targets are listed by a bare `make`. Each makes what it needs, its own virtual environment included.

PYTHON ?= python3
VENV   ?= .venv
PY      = $(VENV)/bin/python
CC     ?= cc
CORES  := $(shell nproc)
# Compiled side by side, run one after the other.
C_TESTS = $(MAKE) -s -j$(CORES) -C tests/c CC="$(CC)"

.DEFAULT_GOAL := help
.PHONY: help build test test-c asan tsan crash torture torture-c fuzz matrix-far layers check clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check setuptools wheel pytest pytest-timeout
	@touch $@

build: $(VENV)/.ready  ## build cmp._core in place
	@$(PY) setup.py -q build_ext --inplace
	@$(PY) -m compileall -q cmp

test: build test-c  ## run the tests (C layers' and Python's)
	$(PY) -m pytest -q

test-c:  ## run the C layers' tests
	@$(C_TESTS)

asan:  ## the same under AddressSanitizer and UBSan
	@$(C_TESTS) VARIANT=asan

tsan:  ## the same under ThreadSanitizer: processes become threads
	@$(C_TESTS) VARIANT=tsan

# bench: BENCH passes options on (BENCH="--rows queue --repeat 3 --peers"); NumPy and the peers are welcome, not needed.
.PHONY: bench bench-growth bench-check bench-instructions demo
$(VENV)/.bench: $(VENV)/.ready
	-for package in $$(sed -n 's/^bench = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",'); do \
	    $(PY) -m pip install -q --disable-pip-version-check $$package || echo "(without $$package)"; done
	@touch $@

bench: build $(VENV)/.bench  ## compare with the standard library: make bench BENCH="--rows queue --peers"
	$(PY) bench/run.py $(BENCH)

bench-growth: build $(VENV)/.bench  ## how cost grows, with plots in docs/plots
	$(PY) bench/growth.py $(BENCH)

bench-check: build $(VENV)/.bench  ## compare with another clone or revision: make bench-check BASE=main~1
	$(PY) bench/check.py $(or $(BASE),HEAD~1) $(BENCH)

bench-instructions: build  ## instructions per operation (callgrind), compared with the recorded ones
	$(PY) bench/instructions.py $(BENCH)

demo: build  ## a real script under cmp, with its speed beside the standard library's
	$(PY) bench/demo.py

# Memory that valgrind cannot follow, or calls that it does not know, are not what these tests are about.
VALGRIND_TESTS = test_barrier test_block test_block_memory test_block_repair test_condition test_copy test_life \
    test_lockword test_member test_mutex test_pooltable test_queue test_queue_blind test_queue_crowd \
    test_queue_damage test_queue_repair test_scm test_segment test_slab
.PHONY: valgrind asan-py leaks limits
valgrind:  ## the C layers' tests under valgrind, those that do without its gaps
	@mkdir -p build; if command -v valgrind >/dev/null; then \
	    $(C_TESTS) TESTS="$(VALGRIND_TESTS)" CMP_TEST_TIMEOUT=300 \
	        RUN="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite" \
	        >build/valgrind.log 2>&1; code=$$?; grep -v '^--' build/valgrind.log; exit $$code; \
	else echo "valgrind: not here, skipped"; fi

# The extension itself under AddressSanitizer and UBSan (gcc), running the tests in the interpreter. Two tests are left
# out: the sanitizer's own memory does not fit into their limits, or hides what they measure.
ASAN_UNIT = codec codec_buffers codec_globals codec_hostile codec_identity codec_reducers lock_costs lock_deaths locks \
    manager pool pool_closing pool_deaths pool_results process process_births queue queue_batches queue_deaths \
    queue_seams sentinels
ASAN_TESTS ?= $(ASAN_UNIT:%=tests/unit/test_%.py) tests/limits/test_objects.py
ASAN_OUT = build/asan-py
asan-py: $(VENV)/.ready  ## the extension under AddressSanitizer and UBSan: make asan-py ASAN_TESTS=tests/oracle
	@mkdir -p $(ASAN_OUT) && rm -f $(ASAN_OUT)/log.*
	CC=gcc CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined" LDFLAGS="-fsanitize=address,undefined" \
	    $(PY) setup.py -q build --build-base $(ASAN_OUT) --build-lib $(ASAN_OUT)/lib 2>$(ASAN_OUT)/build.log
	here=$$PWD py="$$(realpath -s $(PY))" && cd $(ASAN_OUT)/lib && CMP_BUILD="$$PWD" \
	    UBSAN_OPTIONS="print_stacktrace=1:log_path='$$here/$(ASAN_OUT)/log'" \
	    ASAN_OPTIONS="detect_leaks=0:handle_segv=0:log_path='$$here/$(ASAN_OUT)/log'" \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    "$$py" -m pytest -q -p no:cacheprovider --timeout 240 -c "$$here/pyproject.toml" --rootdir "$$here" \
	    $(addprefix ../../../,$(ASAN_TESTS)) \
	    -k "not gives_the_memory_back and not fed_from_an_endless_iterable"
	@! ls $(ASAN_OUT)/log.* 2>/dev/null || { cat $(ASAN_OUT)/log.*; exit 1; }

leaks: build  ## everything ten thousand times and more: memory, descriptors, references stay (LEAKS=20, LEAKS=full)
	CMP_LEAKS=$(or $(LEAKS),20) $(PY) -m pytest -q tests/limits/test_leaks.py

limits: build  ## what has run out, and huge objects: some 15 GiB of memory, one test at a time
	CMP_LARGE=1 CMP_RUNS=$(or $(RUNS),10) $(PY) -m pytest -q tests/limits tests/torture/test_exits.py

crash: crash-c crash-py  ## kill a process before and after every named store it reaches

.PHONY: crash-c crash-py crash-full
crash-c:  ## the same for the C layers alone
	@$(C_TESTS) VARIANT=faults

crash-py: $(VENV)/.ready  ## the same from Python, all or some: make crash-py CRASH="pool-parent ec.wake:after:0"
	@$(PY) tests/crash/run.py $(CRASH)

crash-full: crash-c $(VENV)/.ready  ## all scenarios, more passes of each store
	@$(PY) tests/crash/run.py --full $(CRASH)

# TORTURE_S: seconds in all (default: 1000 kills of each role). TORTURE_SEED, TORTURE_ROLES: repeat a run that failed.
torture: build  ## kill processes at random instants: make torture TORTURE_S=600
	$(PY) tests/torture/run.py $(if $(TORTURE_S),--seconds $(TORTURE_S)) $(if $(TORTURE_SEED),--seed $(TORTURE_SEED)) \
	    $(TORTURE_ROLES)

.PHONY: models models-short models-mutants
models:  ## check the models of the protocols with spin, all bounds (MODELS="queue pool" for some)
	@CC="$(CC)" $(PYTHON) tools/models.py $(MODELS)

models-short:  ## the same, what takes seconds
	@CC="$(CC)" $(PYTHON) tools/models.py --short $(MODELS)

models-mutants:  ## are the models able to fail? each named mutant has to
	@CC="$(CC)" $(PYTHON) tools/models.py --mutants $(MODELS)

torture-c:  ## the same in C, on one queue: random kills and stops for TORTURE_S seconds (30)
	@TORTURE_S=$(or $(TORTURE_S),30) CMP_TEST_TIMEOUT=$$(($(or $(TORTURE_S),30) + 60)) \
	    $(C_TESTS) TESTS=torture_queue

.PHONY: reports
reports: build  ## CPython's own bug reports, under the standard library and under cmp
	$(PY) tests/reports/side_by_side.py $(REPORTS)

fuzz:  ## hostile bytes for the C layers and the decoder (clang), FUZZ_S seconds a target (60)
	@if echo 'int LLVMFuzzerTestOneInput(const char *b, long n) { return b && n < 0; }' | \
	        clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null; then \
	    $(MAKE) -s -C tests/fuzz PYTHON="$(PYTHON)" FUZZ_S=$(or $(FUZZ_S),60); \
	    else echo "fuzz: no clang with libFuzzer here, skipped"; fi

matrix-far:  ## C tests with gcc, clang, musl; everything on a CPython 3.14 of Debian's in a folder
	@for cc in gcc clang musl-gcc; do \
	    command -v $$cc >/dev/null || { echo "(no $$cc here)"; continue; }; \
	    echo "with $$cc:"; $(MAKE) -s -j$(CORES) -C tests/c CC=$$cc || exit 1; done
	@CONFORMANCE=$(CONFORMANCE) $(PYTHON) tools/far.py $(MATRIX)

.PHONY: aarch64
aarch64:  ## cross-compile, and test on an emulated machine: make aarch64 MATRIX="tests/unit/test_queue.py"
	@$(PYTHON) tools/aarch64.py $(MATRIX)

.PHONY: matrix
matrix:  ## build and test on every CPython and C compiler found: make matrix MATRIX="tests/unit"
	@$(PYTHON) tools/matrix.py $(MATRIX)

.PHONY: dist-check
dist-check:  ## sdist and wheel: built, examined, installed and used
	$(PYTHON) tools/dist_check.py

.PHONY: clients
# CLIENTS: some of them; clients/run.py has the names.
clients:  ## real programs on cmp, each in an environment of its own: make clients CLIENTS="joblib_backends log"
	$(PYTHON) clients/run.py $(CLIENTS)

layers:  ## includes point down, headers stand alone, atomics go through the macros
	@CC="$(CC)" $(PYTHON) tools/layers.py
	@$(PYTHON) tools/raw_atomics.py

# CPython's own test suites; the harness that runs them lies beside the repository where it is developed.
# CONFORM passes options on: make conformance RUNS=1 CONFORM="--versions 3.13 --methods spawn --class Pool"
CONFORMANCE ?= ../shared/tools/conformance/conformance.py
define conform
	@if [ -f $(CONFORMANCE) ]; then $(PY) tools/conformance.py $(CONFORMANCE) $(1); \
	elif [ "$$CI" = true ]; then echo "no harness at $(CONFORMANCE)"; exit 1; \
	else echo "skipped: the harness of CPython's suite is not at $(CONFORMANCE)"; fi
endef

.PHONY: conformance conformance-short
conformance: build  ## CPython's own suites: every CPython found, every start method, RUNS times (3)
	$(call conform,--runs $(or $(RUNS),3) --jobs 2 $(CONFORM))

conformance-short: build  ## CPython's own multiprocessing suite, this Python, fork, once
	$(call conform,--here --suites multiprocessing --methods fork --jobs 2 --retry)

check: FUZZ_S = 3
check: layers models-short test-c asan tsan crash fuzz conformance-short test  ## everything a change has to pass

clean:  ## remove what was built
	rm -rf build $(VENV) cmp/*.so *.egg-info
