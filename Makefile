# What developers do here. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
# Recorded sessions, where there are some; the benchmark makes sessions up otherwise.
SESSIONS ?= $(wildcard $(AEGIS_SHARED)/data/sessions-public.jsonl.zst)
COVERAGE_BUILD ?= $(CURDIR)/build/native-coverage
# Not the tests that enumerate, nor those of the simulated machine, nor the one whose ways differ from run to run.
COVERAGE_TESTS = $(filter-out test_crash% test_vfs_sim% test_flips% test_commit_race%,$(ALL_TESTS))
NATIVE := $(MAKE) --no-print-directory -C tests/native check
ALL_TESTS = $(notdir $(sort $(wildcard tests/native/test_*.c)))
FUZZ := $(MAKE) --no-print-directory -j2 -C tests/fuzz

.PHONY: help build test lint format native-test native-portable native-asan native-tsan native-mutants native-coverage native-mutants-evidence crash-states fuzz fuzz-ci fuzz-planted crash flips flips-ci kill root bench bench-hot growth ci clean

# Shows this list.
help:
	@awk '/^# / { text = substr($$0, 3); next } /^[a-z-]+:/ { sub(/:.*/, ""); printf "  %-16s %s\n", $$0, text } { text = "" }' Makefile

# Installs the package, with what tests and linters need, into .venv.
build:
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	AEGIS_WERROR=1 $(VENV)/bin/pip install --quiet ".[test,dev]"

# Runs the Python tests against what `make build` installs.
test: build
	$(VENV)/bin/pytest

# Looks at style and types.
lint:
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

# Lays the Python files out as `make lint` wants them.
format:
	$(VENV)/bin/ruff format

# Runs the C tests.
native-test:
	+$(NATIVE) WERROR=1

# Runs those C tests that a processor's fast path could fail without it.
native-portable:
	+AEGIS_CPU=portable $(NATIVE) WERROR=1 TESTS="test_cpu.c test_crc32c.c test_sha256.c test_frame.c test_merkle.c test_store.c"

# Runs the C tests under the address and undefined-behaviour sanitizers, but for those that make thousands of disks.
native-asan:
	@echo "left out: test_crash_*, test_flips*, test_every_call; ASAN_ALL=1 takes all"
	+$(NATIVE) WERROR=1 SAN=asan TESTS="$(if $(ASAN_ALL),$(ALL_TESTS),$(filter-out test_crash_% test_flips% test_every_call%,$(ALL_TESTS)))"

# Runs the C tests under the thread sanitizer, but for those of one thread that would take hours.
native-tsan:
	@echo "left out: test_crash_states*, for a single thread makes millions of states there, and has nobody to race with"
	+$(NATIVE) WERROR=1 SAN=tsan TESTS="$(filter-out test_crash_states%,$(ALL_TESTS))"

# Takes every safeguard out, one after another, and demands that a test notices.
native-mutants:
	$(MAKE) --no-print-directory -C tests/native mutants WERROR=1

# The same, and keeps the table in docs/evidence/mutants.txt.
native-mutants-evidence:
	mkdir -p docs/evidence
	printf 'make native-mutants-evidence\ncommit %s, kernel %s, %s\n\n' "$$(git rev-parse --short HEAD)" "$$(uname -r)" "$$(date -u +%F)" > docs/evidence/mutants.txt
	$(MAKE) --no-print-directory -C tests/native mutants WERROR=1 KEEP=$(CURDIR)/docs/evidence/mutants.txt

# Runs the C tests with counters, and shows which lines and branches of the core they take; tests/native/uncovered.txt names the others.
native-coverage:
	rm -rf $(COVERAGE_BUILD)
	+$(NATIVE) WERROR=1 COVERAGE=1 BUILD=$(COVERAGE_BUILD) TESTS="$(COVERAGE_TESTS)" > /dev/null
	$(VENV)/bin/python tests/native/coverage.py $(COVERAGE_BUILD)/plain-coverage

# Feeds every decoder with made-up bytes, FUZZ_SECONDS each (clang with libFuzzer); tests/fuzz/Makefile has more.
fuzz:
	+$(FUZZ) fuzz

# Does the same with a fixed number of inputs from a fixed seed.
fuzz-ci:
	+$(FUZZ) fuzz-ci

# Plants a bug in each decoder and demands that its fuzz target finds it.
fuzz-planted:
	+$(FUZZ) fuzz-planted

# Opens a million distinct disks that a power cut may leave.
crash-states:
	$(MAKE) --no-print-directory -C tests/native WERROR=1 TESTS=test_crash_states.c
	$(PYTHON) tests/native/crash_states.py build/native/plain/test_crash_states --states 42000

# Opens more than ten million, writes docs/evidence/crash-states.txt, and runs the long tests of real crashes.
crash:
	$(MAKE) --no-print-directory -C tests/native WERROR=1 TESTS=test_crash_states.c
	$(PYTHON) tests/native/crash_states.py build/native/plain/test_crash_states --states 500000 --evidence docs/evidence/crash-states.txt
	$(VENV)/bin/pytest tests/crash -m "long or not long"

# Flips every bit of every file of small stores and cuts every file at every length; takes long. Writes docs/evidence/flips.txt.
flips:
	$(MAKE) --no-print-directory -C tests/native all WERROR=1 TESTS="test_flips.c test_flips_files.c"
	sh tests/native/flips.sh all $(CURDIR)/docs/evidence/flips.txt

# Flips what CI has time for: every bit of what has structure, one of each byte of payloads and zeros.
flips-ci:
	$(MAKE) --no-print-directory -C tests/native all WERROR=1 TESTS="test_flips.c test_flips_files.c"
	sh tests/native/flips.sh ci

# Kills writers with SIGKILL, thousands of times, and before each call of a retention and of an erasure, and looks at what is left.
kill:
	AEGIS_PROGRESS=1 $(VENV)/bin/pytest tests/crash -m "long or not long" -n 2 -s

# Cuts the power, fails the device and fills the disk under stores on file systems of this kernel as root; needs xfsprogs nbdkit libnbd-bin fuse3.
root: build
	$(VENV)/bin/pytest tests/root -m root -n0 --evidence=docs/evidence/root.txt

# Measures this machine against other stores: raw results to bench/results, the picture to bench/results/bench.svg.
bench: build
	$(VENV)/bin/pip install --quiet ".[bench]"
	$(VENV)/bin/aegis bench --results bench/results --svg bench/results/bench.svg $(if $(SESSIONS),--sessions $(SESSIONS)) $(BENCH)

# Times the functions that a checkpoint and a read are made of.
bench-hot: build
	$(VENV)/bin/pytest tests/bench/test_hot.py --benchmark-enable --benchmark-sort=name --benchmark-columns=median,min,max,rounds

# Draws bytes over the turns of a LangGraph conversation, ours and SqliteSaver's, into bench/results.
growth: build
	$(VENV)/bin/python -P -c "import tempfile, pathlib; from aegis_store.bench.growth import measured, write; folder = tempfile.TemporaryDirectory(dir='.'); write(measured(pathlib.Path(folder.name)), pathlib.Path('bench/results')); folder.cleanup()"

# Does what CI does with the last commit.
ci:
	.ci/run

# Removes what was built.
clean:
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find aegis_store native tests -name __pycache__ -type d -prune -exec rm -rf {} +
