# One place for everything that is run by hand or by CI. `make` alone lists the targets.
# Only `make`, a POSIX shell and a Python of the range below are needed; all else is installed into .venv.

TORCH_VERSION := 2.13.0
VENV          := .venv
OUT           := out

# Overridable: a certain interpreter, or further arguments for the installation of torch.
PYTHON         ?=
TORCH_PIP_ARGS ?=

PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed-for-torch-$(TORCH_VERSION)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-postgres check format report clean

help:
	@echo 'make demo      install, then animate the sample portrait with the sample clip into $(OUT)/'
	@echo 'make test      install, then run the test suite'
	@echo 'make test-all  the same with the slow tests and the browser tests'
	@echo 'make test-postgres  the tests of the consent store on SQLite and on a real PostgreSQL server'
	@echo 'make check     lint, types, import layers'
	@echo 'make format    apply the automatic lint fixes'
	@echo 'make report    what this machine has, and the slowest tests, into $(OUT)/report/'
	@echo 'make clean     remove $(VENV), $(OUT) and all caches'

install: $(STAMP)

demo: $(STAMP)
	$(VENV)/bin/portrait-anim quickstart --out $(OUT)

test: $(STAMP)
	$(PY) -m pytest

test-all: $(STAMP)
	$(PY) -m pytest -m 'not gpu'

# On a real server that the target starts and stops; says so and ends well where PostgreSQL is not installed.
test-postgres: $(STAMP)
	$(PY) tests/on_postgresql.py tests/unit/consent

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(STAMP)
	$(VENV)/bin/ruff check --fix .

report: $(STAMP)
	mkdir -p $(OUT)/report
	$(VENV)/bin/portrait-anim doctor --json > $(OUT)/report/doctor.json || true
	$(PY) -m pytest -q --durations=25 --junitxml=$(OUT)/report/tests.xml

clean:
	rm -rf $(VENV) $(OUT) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The first interpreter that runs, has the right version and can make environments (a name on PATH proves nothing).
$(PY):
	@set -e; found=''; \
	for candidate in '$(PYTHON)' python3.11 python3.12 python3.10 python3 python; do \
	  if [ -n "$$candidate" ] && "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; then \
	    found="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'make: expected a Python 3.10, 3.11 or 3.12 with the modules venv and ensurepip, found none on PATH.' >&2; \
	  echo 'Debian, Ubuntu: apt install python3 python3-venv.  macOS: brew install python@3.12.' >&2; \
	  echo 'Or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; \
	  exit 1; \
	fi; \
	echo "make: creating $(VENV) with $$found ($$("$$found" -V 2>&1))"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Skipped as long as pyproject.toml is unchanged. OpenCV comes with mediapipe; where the desktop build cannot be
# loaded (a server without libGL), its headless twin of the same version takes its place.
$(STAMP): pyproject.toml | $(PY)
	@$(PY) -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' \
	  || $(PY) -m pip install 'torch==$(TORCH_VERSION)' $(TORCH_PIP_ARGS)
	$(PY) -m pip install -e '.[demo,dev]'
	@$(PY) -c 'import cv2' >/dev/null 2>&1 || { \
	  version="$$($(PY) -c 'import importlib.metadata as m; print(m.version("opencv-contrib-python"))')"; \
	  $(PY) -m pip uninstall -y opencv-contrib-python; \
	  $(PY) -m pip install --no-deps "opencv-contrib-python-headless==$$version"; \
	}
	@touch $@
