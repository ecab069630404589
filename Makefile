# medledger: `make demo` shows it, `make test` tests it. Both need Python 3.11 or newer, git and make.
#
# Each target first makes the environment .venv (once, and again when pyproject.toml changes).
# make PYTHON=/path/to/python3 takes another interpreter; `make clean` forgets the environment.
# The tests use a real Mosquitto where one is installed; MEDLEDGER_BROKER=embedded make test does without it.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUTSIDE := .venv-outside
OUTSIDE_STAMP := $(OUTSIDE)/.installed
# Tests wait for brokers, boxes and disks half of their time: two processes more than there are cores, six at most.
PARALLEL = -n $$(( $$(getconf _NPROCESSORS_ONLN) < 4 ? $$(getconf _NPROCESSORS_ONLN) + 2 : 6 )) --dist worksteal
# Tests start hundreds of processes: without bytecode on the disk each would compile the library again.
unexport PYTHONDONTWRITEBYTECODE
NEWEST_FIRST := python3 python3.14 python3.13 python3.12 python3.11

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench sim soak clean

help:
	@echo "make demo    install, then run the main job end to end on an embedded broker"
	@echo "make test    install, then run the tests"
	@echo "make check   ruff, mypy --strict and the layer contract"
	@echo "make bench   the performance bars, as ratios (BENCH=--quick for a short run)"
	@echo "make sim     one simulated world, from its seed (SEED=7, EVENTS=20000)"
	@echo "make soak    the tests that take minutes, and the table of docs/reliability.md (SOAK=--events=1000000 for less)"
	@echo "make clean   remove environments, caches and build outputs"

demo: $(STAMP)
	@$(BIN)/medledger demo

test: $(STAMP) $(OUTSIDE_STAMP)
	@$(BIN)/python -m pytest $(PARALLEL)

check: $(STAMP)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@PYTHONPATH=.:agents:firmware_bridge $(BIN)/lint-imports --no-logo

bench: $(STAMP)
	@$(BIN)/python -m benchmarks $(BENCH)

sim: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python -m sim $(or $(SEED),1) $(if $(EVENTS),--events $(EVENTS))

soak: $(STAMP) $(OUTSIDE_STAMP)
	@MEDLEDGER_HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -m "slow or not slow" --timeout=3600
	@PYTHONPATH=tests $(BIN)/python -m sim.soak $(SOAK)

clean:
	rm -rf $(VENV) $(OUTSIDE) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache \
		.hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The interpreter is looked for only when an environment has to be made. An old or broken one is passed over; when
# none is left, the message says what to do.
$(STAMP): pyproject.toml
	@set -e; $(call find_python); \
	echo "Making $(VENV) with $$("$$python" --version) and installing medledger (first use only)..."; \
	$(call make_venv,$(VENV)); \
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -e '.[dev]'; \
	touch $@

$(OUTSIDE_STAMP): tests/outside/requirements.txt
	@set -e; $(call find_python); \
	echo "Making $(OUTSIDE) for the outside verifiers (first use only)..."; \
	$(call make_venv,$(OUTSIDE)); \
	$(OUTSIDE)/bin/python -m pip install --quiet --quiet --disable-pip-version-check -r tests/outside/requirements.txt; \
	touch $@

define find_python
python=; for candidate in $(or $(PYTHON),$(NEWEST_FIRST)); do \
	if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
		python=$$candidate; break; \
	fi; \
done; \
if [ -z "$$python" ]; then \
	echo "medledger needs Python 3.11 or newer, and found none (tried: $(or $(PYTHON),$(NEWEST_FIRST)))." >&2; \
	echo "Install one (on Debian 12 or newer: apt install python3 python3-venv) or say where it is:" >&2; \
	echo "    make PYTHON=/path/to/python3" >&2; \
	exit 1; \
fi
endef

define make_venv
"$$python" -m venv $(1) || { \
	rm -rf $(1); \
	echo "$$python cannot make a virtual environment. On Debian: apt install python3-venv, then try again." >&2; \
	exit 1; \
}
endef
