# Every target makes the virtual environment that it needs. The first call installs, later ones
# start at once. `make` alone prints the targets.

PYTHON ?= python3
# Options of pip for torch alone. On Linux its default is a build for GPUs, of gigabytes: pass the
# `--index-url ...` that pytorch.org's instructions give for the CPU build, unless pip is set up so.
TORCH_PIP_ARGS ?=
# Passed on to the demo and the tutorials.
ARGS ?=
BACKENDS ?= jax tensorflow torch

DEMO := .venv-demo
TESTS := .venv
TOOLS := .venv-tools
FLOOR := .venv-floor
PINS := requirements/constraints.txt

# The environments do not depend on each other, and pip waits for the network most of the time.
MAKEFLAGS += --jobs=3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles what is imported anyway; all of the backends is a minute more.
export PIP_NO_COMPILE := 1
export NO_MKDOCS_2_WARNING := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint docs tutorials serve clean

help: ## print this list
	@echo 'Targets (each sets itself up; PYTHON=... chooses the Python, 3.11 or newer):'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO)/.done ## the main job: close the generalization gap on a real data set (ARGS="--quick")
	KERAS_BACKEND=jax $(DEMO)/bin/python -m reproduction demo $(ARGS)

test: $(TESTS)/.done $(TOOLS)/.done $(FLOOR)/.done ## everything that must pass: lint, three backends, oldest Keras, docs, wheel
	$(TOOLS)/bin/python scripts/check.py --backends $(BACKENDS)

bench: $(TESTS)/.done ## the benchmarks, on one backend (KERAS_BACKEND, default jax)
	@for script in ghost_batch_normalization weight_distance overheads; do \
		echo "== benchmarks/$$script.py"; \
		KERAS_BACKEND=$${KERAS_BACKEND:-jax} $(TESTS)/bin/python benchmarks/$$script.py || exit 1; \
	done

lint: $(TOOLS)/.done ## ruff, mypy and the import rules
	$(TOOLS)/bin/python scripts/check.py --only lint

docs: $(TOOLS)/.done ## the site, into site/; any warning is an error
	$(TOOLS)/bin/mkdocs build --strict
	$(TOOLS)/bin/python scripts/offline.py site
	@echo 'Open site/index.html, or run: make serve'

tutorials: $(TESTS)/.done ## run the tutorials and write their pages anew (ARGS="ghost-batches")
	@$(TESTS)/bin/python -m pip install -qq -c $(PINS) -e '.[tutorials]'
	$(TESTS)/bin/python -m scripts.tutorials $(ARGS)

serve: $(TOOLS)/.done ## the site on this machine, reloaded at every change
	$(TOOLS)/bin/mkdocs serve

clean: ## remove the environments and everything that was built
	rm -rf $(DEMO) $(TESTS) $(TOOLS) $(FLOOR) site dist build .cache .pytest_cache .mypy_cache \
		.ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call environment,FOLDER) makes an empty one, or says what is in the way.
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "keras_bigbatch needs Python 3.11 or newer; '$(PYTHON)' is not. Name one, as in:"; \
		echo "    make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(1) || { \
		echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
endef

$(DEMO)/.done: pyproject.toml requirements/constraints.txt
	$(call environment,$(DEMO))
	@echo 'Installing JAX and the demo's data into $(DEMO) (once, about a minute) ...'
	@$(DEMO)/bin/python -m pip install -qq -c $(PINS) -e '.[jax,examples]'
	@touch $@

# torch first and alone: what comes later then finds it installed, and cannot pull another build.
$(TESTS)/.done: pyproject.toml requirements/constraints.txt requirements/backends.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || { \
		echo "TensorFlow has no release for '$(PYTHON)' yet. Name an older one, as in:"; \
		echo "    make $(MAKECMDGOALS) PYTHON=python3.13"; exit 1; }
	$(call environment,$(TESTS))
	@echo 'Installing torch, JAX, TensorFlow and the test tools into $(TESTS) (once, some minutes) ...'
	@$(TESTS)/bin/python -m pip install -qq $(TORCH_PIP_ARGS) "$$(grep '^torch==' $(PINS))"
	@$(TESTS)/bin/python -m pip install -qq -c $(PINS) -r requirements/backends.txt \
		-e '.[test,examples,datasets]'
	@touch $@

$(TOOLS)/.done: pyproject.toml requirements/constraints.txt
	$(call environment,$(TOOLS))
	@echo 'Installing the linters and the documentation tools into $(TOOLS) (once) ...'
	@$(TOOLS)/bin/python -m pip install -qq -c $(PINS) -e '.[lint,docs]'
	@touch $@

# The oldest Keras that pyproject.toml allows; everything else as pinned.
$(FLOOR)/.done: pyproject.toml requirements/constraints.txt
	$(call environment,$(FLOOR))
	@echo 'Installing the oldest supported Keras into $(FLOOR) (once) ...'
	@sed -e "s/^keras==.*/keras==$$(sed -n 's/.*"keras>=\([0-9.]*\)".*/\1.0/p' pyproject.toml)/" \
		$(PINS) > $(FLOOR)/constraints.txt
	@$(FLOOR)/bin/python -m pip install -qq -c $(FLOOR)/constraints.txt -e '.[test,jax]'
	@touch $@
