# What developers do here. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
# Recorded sessions, where there are some; the benchmark makes sessions up otherwise.
SESSIONS ?= $(wildcard $(AEGIS_SHARED)/data/sessions-public.jsonl.zst)
COVERAGE_BUILD ?= $(CURDIR)/build/native-coverage
# Not the tests that enumerate, nor those of the simulated machine.
COVERAGE_TESTS = $(notdir $(filter-out %/test_crash_% %/test_vfs_sim%,$(wildcard tests/native/test_*.c)))
NATIVE := $(MAKE) --no-print-directory -C tests/native check

.PHONY: help build test lint format native-test native-portable native-asan native-tsan native-mutants native-coverage crash kill root bench bench-hot ci clean

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
	$(NATIVE) WERROR=1

# Runs the C tests without the processor's fast paths.
native-portable:
	AEGIS_CPU=portable $(NATIVE) WERROR=1

# Runs the C tests under the address and undefined-behaviour sanitizers.
native-asan:
	$(NATIVE) WERROR=1 SAN=asan

# Runs the C tests under the thread sanitizer.
native-tsan:
	$(NATIVE) WERROR=1 SAN=tsan

# Takes single safeguards out, one after another, and demands that the enumeration of crash states notices.
native-mutants:
	$(NATIVE) WERROR=1 MUTANTS=1 TESTS=test_crash_states.c

# Runs the C tests with counters, shows which lines and branches they take, and fails for a branch that tests/native/uncovered.txt does not name.
native-coverage:
	rm -rf $(COVERAGE_BUILD)
	$(NATIVE) WERROR=1 COVERAGE=1 BUILD=$(COVERAGE_BUILD) TESTS="$(COVERAGE_TESTS)" > /dev/null
	$(VENV)/bin/python tests/native/coverage.py $(COVERAGE_BUILD)/plain-coverage

# Enumerates crash states, the long way.
crash:
	$(VENV)/bin/pytest tests/crash -m "long or not long"

# Kills writers with SIGKILL, again and again, and looks at what is left.
kill:
	$(VENV)/bin/pytest tests/crash/test_kill.py -m "long or not long"

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

# Does what CI does with the last commit.
ci:
	.ci/run

# Removes what was built.
clean:
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find aegis_store native tests -name __pycache__ -type d -prune -exec rm -rf {} +
