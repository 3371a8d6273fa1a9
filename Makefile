# The two commands of the README are `make demo` and `make test`; both set up what is missing first.
KWS := .venv/bin/kws
PY := .venv/bin/python

.PHONY: help setup demo test lint bench bench-train bench-words pictures fuzz clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install what is missing (apt packages and .venv)
	@sh host_tools/setup.sh

demo: setup ## the main job: speech, training, firmware, emulated board, report (ARGS="--fresh" for more)
	@$(KWS) run $(ARGS)

test: setup lint ## the whole suite, QEMU and Chromium included (ARGS="-k link" for a part)
	@sh host_tools/setup.sh --browser
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q $(ARGS)

lint: setup ## ruff, mypy and clang-format
	@$(PY) -m ruff check -q .
	@$(PY) -m ruff format -q --check .
	@$(PY) -m mypy --no-error-summary
	@git ls-files '*.c' '*.h' '*.cc' '*.cpp' | xargs $(dir $(PY))clang-format --dry-run -Werror

bench: setup ## instructions, RAM and flash of models on the emulated board, beside those of others (ARGS="--only kws01")
	@$(PY) -m tests.bench_tables $(ARGS)
	@$(KWS) bench --features

pictures: setup ## the terminal's pictures in docs/, taken of the emulated board
	@$(PY) -m tests.pictures

bench-train: setup ## training examples a second on 1, 2, … devices, and what the limit is (ARGS="--devices 1,2,4")
	@$(PY) -m tests.bench_train $(ARGS)

bench-words: setup ## people's accuracy of own words that only synthesisers said (ARGS="--only b --takes 0")
	@$(PY) -m tests.bench_words $(ARGS)

fuzz: setup ## damaged models, files and devices (ARGS="--cases 1000"), and runs killed at random moments (KILLS=100)
	@$(PY) -m tests.fuzz $(ARGS)
	@$(PY) -m tests.fuzz.busy
	@$(PY) -m tests.fuzz.files $(ARGS)
	@$(PY) -m tests.fuzz.lines $(ARGS)
	@for kind in steps train quantize run; do $(PY) -m tests.fuzz.kills $$kind --kills $(or $(KILLS),20) || exit 1; done

clean: ## remove what was built (not .venv)
	rm -rf .pio .cache build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
