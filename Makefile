# What people type. `make` builds; `make demo` shows; `make test` proves.

CARGO ?= cargo
BIN = target/release/embergate
DOCS ?= examples/corpus
FUZZ_SECONDS ?= 60
FUZZ_TARGET ?=

.PHONY: all build plugins demo test fuzz bench lint clean help

all: build

help: ## Show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

build: plugins ## Build the plugins and the gateway, optimised, into target/release
	$(CARGO) build --release --bin embergate

plugins: ## Build the first-party plugins into target/plugins
	plugins/build.sh

demo: build ## Index examples/corpus, or DOCS=some/folder, and search it
	BIN=$(BIN) examples/demo.sh $(DOCS)

test: plugins ## Install what the tests need, and run them all
	tests/run.sh

fuzz: ## Let libFuzzer make up requests, plugins and their answers, for a minute or FUZZ_SECONDS each
	tests/fuzz/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_TARGET)

bench: plugins ## Measure plugins, stores, normal clients under abuse, and the gateway beside its peers
	tests/guests/build.sh
	tests/bench/peers/install.sh
	tests/bench/languages/build.sh
	tests/bench/index/corpus.sh
	$(CARGO) bench --bench plugin --bench languages --bench plugins_under_load --bench store --bench index --bench abuse --bench gateway

lint: plugins ## Check format, lints and documentation, with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

clean: ## Remove everything that was built
	$(CARGO) clean
