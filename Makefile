# make benchmark [MODEL=gpt2] [PROFILE=standard] [ARGS=...]   judge a model (default: the embedded reference model, with 100 random directions)
# make test                                                  lint, types, import rules and the self-tests
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
PURELIB := import sysconfig; print(sysconfig.get_path('purelib'))
BIN := $(VENV)/bin
MODEL ?= reference
PROFILE ?= $(if $(filter reference,$(MODEL)),standard,quick)
ARGS ?=

.PHONY: benchmark test test-all lint replicate train perf calibrate faults clean

benchmark: $(VENV)/.installed
	$(BIN)/pytest benchmark --model=$(MODEL) --profile=$(PROFILE) $(ARGS)

# two workers with one thread each: faster than one with two, and no slower on a busy machine
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest tests -q -m "not slow" -W error -n 2

# everything, the slow proofs too: training a reference model again, a Ray cluster that loses a worker
test-all: lint $(VENV)/.cluster
	OMP_NUM_THREADS=1 $(BIN)/pytest tests -q -W error -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the models of the two posts, beside their published figures; needs a hub and, for Llama, its licence
replicate: $(VENV)/.installed
	$(BIN)/pytest benchmark --model gpt2 --model meta-llama/Llama-3.2-1B-Instruct --profile standard $(ARGS)

# speed and memory beside other libraries, into reports/perf.md; ARGS=--full judges GPT-2 124M with random weights too
perf: $(PEERS)/.installed
	$(PEERS)/bin/python -m fixtures.perf $(ARGS)

# sensitivity and false positives of every claim, into reports/calibration.md; ARGS="--draws 50 --seeds 7 --minutes 20" for less
calibrate: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m fixtures.calibration --readme README.md $(ARGS)

# the suite killed, starved, cut off and fed nonsense, into reports/faults.md: half an hour on one core
faults: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign $(ARGS)

# the reference models again, from a fixed seed
train: $(VENV)/.installed
	$(BIN)/python -m fixtures.reference.tokenizer
	$(BIN)/python -m fixtures.reference.stimuli
	$(BIN)/python -m fixtures.reference.train

$(VENV)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt ".[dev]"
	touch $@

$(VENV)/.cluster: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt ".[cluster]"
	touch $@

# other libraries on top of .venv, whose versions they do not move; one that does not install is named in the report
$(PEERS)/.installed: $(VENV)/.installed
	$(BIN)/python -m venv $(PEERS)
	$(BIN)/python -c "$(PURELIB)" > `$(PEERS)/bin/python -c "$(PURELIB)"`/suite.pth
	-$(PEERS)/bin/pip install -q --disable-pip-version-check -c constraints.txt ".[perf]"
	-$(PEERS)/bin/pip install -q --disable-pip-version-check --no-deps steering-vectors==0.12.2 repeng==0.4.0
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) build *.egg-info
