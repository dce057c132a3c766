# A thin door: everything is done by tools/dev.py, which works without make as well.
# `make run HOST=127.0.0.1 PORT=8000 ARGS=…`: HOST and PORT are for run, ARGS is passed on by every target.
HOST ?= 127.0.0.1
PORT ?= 8000
ARGS ?=

# A command that exists may still fail: the shim of a version manager, or Python 2. tools/dev.py looks for the right one.
PICK = for python in "$$PYTHON" python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 7))' >/dev/null 2>&1; \
	then exec "$$python" tools/dev.py $(1) $(ARGS); fi; done; \
	echo 'limen: Python 3.11 or newer is needed and no Python 3 was found' >&2; exit 3

.DEFAULT_GOAL := help
.PHONY: help run test coverage lint bench fuzz setup lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

run: export HOST := $(HOST)
run: export PORT := $(PORT)
run: ## start the demo on http://HOST:PORT
	@$(call PICK,run)

test: ## run the whole suite; ARGS="tests/core -x" runs a part
	@$(call PICK,test)

coverage: ## run the whole suite and count which lines it runs
	@$(call PICK,coverage)

lint: ## ruff, mypy and import-linter
	@$(call PICK,lint)

bench: ## run the benchmarks
	@$(call PICK,bench)

fuzz: ## look for inputs that do harm; ARGS="token -max_total_time=600"
	@$(call PICK,fuzz)

setup: ## only make .venv ready
	@$(call PICK,setup)

lock: ## make uv.lock and requirements/ again (needs uv); ARGS=--upgrade takes the newest
	@$(call PICK,lock)

clean: ## remove .venv and the tools' caches; the demo's data in var/ stays
	@$(call PICK,clean)
