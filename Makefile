# Every target makes the virtual environment that it needs. The first call installs, later ones
# start at once. `make` alone prints the targets.

PYTHON ?= python3
# Options of pip for torch alone. On Linux its default is a build for GPUs, of gigabytes: pass the
# `--index-url ...` that pytorch.org's instructions give for the CPU build, unless pip is set up so.
TORCH_PIP_ARGS ?=
# In place of the pinned Keras, for the tests: KERAS=keras-nightly.
KERAS ?=
# Passed on to the demo and the tutorials.
ARGS ?=
# What `make test` runs on, and what `make check` does.
BACKENDS ?= jax tensorflow torch
BACKEND ?= $(firstword $(BACKENDS))

DEMO := .venv-demo
# All backends share an environment. Fewer get one without the others: `.venv-torch`.
empty :=
TESTS := .venv$(if $(filter-out $(BACKENDS),jax tensorflow torch),-$(subst $(empty) ,-,$(strip $(BACKENDS))))
TOOLS := .venv-tools
FLOOR := .venv-floor
HUB := .venv-hub
COMPILED := .venv-compiled
PINS := requirements/constraints.txt

# The environments do not depend on each other, and pip waits for the network most of the time.
MAKEFLAGS += --jobs=3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles what is imported anyway; all of the backends is a minute more.
export PIP_NO_COMPILE := 1
export NO_MKDOCS_2_WARNING := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo check test test-hub test-compiled build gpu bench lint docs tutorials serve clean

help: ## print this list
	@echo 'Targets (each sets itself up; PYTHON=... chooses the Python, 3.11 or newer):'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO)/.done ## the main job: close the generalization gap on a real data set (ARGS="--quick")
	KERAS_BACKEND=jax $(DEMO)/bin/python -m reproduction demo $(ARGS)

# The script makes the environments, so that the first tests start while others still install.
check: ## before each commit: lint, types, and a part of the tests (BACKEND=torch)
	@$(call newer_python)
	$(PYTHON) scripts/check.py --python $(TESTS) --quick $(BACKEND)

test: ## everything that must pass: lint, three backends, oldest Keras, docs, wheel (BACKENDS=torch)
	@$(call newer_python)
	$(PYTHON) scripts/check.py --python $(TESTS) --backends $(BACKENDS)

test-hub: ## other people's models, exports, tuners; pages and tutorials on all backends (BACKENDS=torch)
	@$(call newer_python)
	$(PYTHON) scripts/check.py --hub --backends $(BACKENDS)

test-compiled: $(COMPILED)/.done ## what the compilers for TPUs and GPUs make of the layer, without them
	KERAS_BACKEND=jax $(COMPILED)/bin/python -m pytest --timeout=900 tests/compiled/test_compiled.py
	KERAS_BACKEND=torch $(COMPILED)/bin/python -m pytest --timeout=900 -p tests.triton_interpreter \
		tests/compiled/test_triton.py tests/compiled/test_training_step.py \
		tests/backend/test_ghost_norm.py \
		tests/layers/test_ghost_exactness.py tests/layers/test_ghost_batch_normalization.py

build: $(TESTS)/.done $(TOOLS)/.done ## the wheel and the source distribution, made and checked, into dist/
	rm -rf dist
	KERAS_BACKEND=$(BACKEND) $(TOOLS)/bin/python scripts/build.py dist --python $(TESTS)/bin/python

gpu: ## all that a machine with GPUs can tell, by your own PYTHON=...; installs nothing
	@$(call newer_python)
	$(PYTHON) scripts/gpu.py $(ARGS)

bench: $(TESTS)/.done ## the benchmarks, on one backend (KERAS_BACKEND, default jax)
	@for script in ghost_batch_normalization weight_distance overheads first_step; do \
		echo "== benchmarks/$$script.py"; \
		KERAS_BACKEND=$${KERAS_BACKEND:-jax} $(TESTS)/bin/python benchmarks/$$script.py || exit 1; \
	done

lint: ## ruff, mypy and the import rules
	@$(call newer_python)
	$(PYTHON) scripts/check.py --only lint

docs: $(TOOLS)/.done ## the site, into site/; any warning is an error
	$(TOOLS)/bin/mkdocs build --strict
	$(TOOLS)/bin/python scripts/offline.py site
	@echo 'Open site/index.html, or run: make serve'

# One of them converts a network of KerasHub.
tutorials: $(HUB)/.done ## run the tutorials and write their pages anew (ARGS="ghost-batches")
	@$(HUB)/bin/python -m pip install -qq -c $(PINS) -e '.[tutorials]'
	$(HUB)/bin/python -m scripts.tutorials $(ARGS)

serve: $(TOOLS)/.done ## the site on this machine, reloaded at every change
	$(TOOLS)/bin/mkdocs serve

clean: ## remove the environments and everything that was built
	rm -rf .venv .venv-* site dist build .cache .pytest_cache .mypy_cache \
		.ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define newer_python
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "keras_bigbatch needs Python 3.11 or newer; '$(PYTHON)' is not. Name one, as in:"; \
	echo "    make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
endef

define tensorflow_python
$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || { \
	echo "TensorFlow has no release for '$(PYTHON)' yet. Name an older one, as in:"; \
	echo "    make $(MAKECMDGOALS) PYTHON=python3.13"; exit 1; }
endef

# $(call environment,FOLDER) makes an empty one, or says what is in the way.
define environment
	@$(call newer_python)
	@$(PYTHON) -m venv $(1) || { \
		echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
endef

$(DEMO)/.done: pyproject.toml requirements/constraints.txt
	$(call environment,$(DEMO))
	@echo 'Installing JAX and the data of the demo into $(DEMO) (once, about a minute) ...'
	@$(DEMO)/bin/python -m pip install -qq -c $(PINS) -e '.[jax,examples]'
	@touch $@

# $(call backends,FOLDER) makes an environment with the backends and the test tools. torch first and
# alone: what comes later then finds it installed, and cannot pull another build. A network of
# KerasHub is converted on torch, where its test takes a second.
define backends
	$(if $(filter tensorflow,$(BACKENDS)),@$(call tensorflow_python))
	$(call environment,$(1))
	@echo 'Installing $(BACKENDS) and the test tools into $(1) (once, some minutes) ...'
	$(if $(filter torch,$(BACKENDS)),@$(1)/bin/python -m pip install -qq $(TORCH_PIP_ARGS) "$$(grep '^torch==' $(PINS))")
	@$(1)/bin/python -m pip install -qq -c $(PINS) $(BACKENDS:%=-r requirements/%.txt) \
		-e '.[test,examples]'
	$(if $(filter torch,$(BACKENDS)),@$(1)/bin/python -m pip install -qq --no-deps -r requirements/keras_hub.txt)
endef

$(TESTS)/.done: pyproject.toml requirements/constraints.txt requirements/keras_hub.txt \
		$(BACKENDS:%=requirements/%.txt)
	$(call backends,$(TESTS))
ifneq ($(KERAS),)
	@$(TESTS)/bin/python -m pip uninstall -qq -y keras
	@$(TESTS)/bin/python -m pip install -qq --pre $(KERAS)
endif
	@touch $@

# Without their dependencies: some ask for what only their training scripts import.
$(HUB)/.done: pyproject.toml requirements/constraints.txt requirements/hub.txt \
		requirements/keras_hub.txt $(BACKENDS:%=requirements/%.txt)
	$(call backends,$(HUB))
	@$(HUB)/bin/python -m pip install -qq --no-deps -r requirements/hub.txt
	@touch $@

# The compilers: four gigabytes on the disk.
$(COMPILED)/.done: pyproject.toml requirements/constraints.txt requirements/compiled.txt \
		requirements/jax.txt requirements/torch.txt
	$(call environment,$(COMPILED))
	@echo "Installing JAX, torch and the compilers for TPUs and GPUs into $(COMPILED) (once, some minutes) ..."
	@$(COMPILED)/bin/python -m pip install -qq $(TORCH_PIP_ARGS) "$$(grep '^torch==' $(PINS))"
	@$(COMPILED)/bin/python -m pip install -qq -c $(PINS) -r requirements/jax.txt \
		-r requirements/torch.txt -e '.[test]'
	@$(COMPILED)/bin/python -m pip install -qq --no-deps -r requirements/compiled.txt
	@touch $@

$(TOOLS)/.done: pyproject.toml requirements/constraints.txt
	$(call environment,$(TOOLS))
	@echo 'Installing the linters and the documentation tools into $(TOOLS) (once) ...'
	@$(TOOLS)/bin/python -m pip install -qq -c $(PINS) -e '.[lint,docs,release]'
	@touch $@

# The oldest Keras and JAX that pyproject.toml allows; everything else as pinned.
$(FLOOR)/.done: pyproject.toml requirements/constraints.txt requirements/oldest.txt requirements/jax.txt
	$(call environment,$(FLOOR))
	@echo 'Installing the oldest supported Keras and JAX into $(FLOOR) (once) ...'
	@awk -F== 'NR == FNR { oldest[$$1] = $$0; next } { print $$1 in oldest ? oldest[$$1] : $$0 }' \
		requirements/oldest.txt $(PINS) > $(FLOOR)/constraints.txt
	@$(FLOOR)/bin/python -m pip install -qq -c $(FLOOR)/constraints.txt -r requirements/jax.txt -e '.[test]'
	@touch $@
