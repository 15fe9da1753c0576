# Thin wrappers: scripts/setup installs what is missing, cargo builds, the product's own launcher runs.

CARGO ?= cargo
RELEASE := target/release
BINARIES := -p ratatosk-loader -p ratatosk -p ratatosk-demo

.DEFAULT_GOAL := help
.PHONY: help run build test bench fuzz clean

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

run: build ## Start the agent on this machine, as root (BEYLA_OPEN_PORT=8080 make run)
	@exec $(RELEASE)/ratatosk-loader standalone

build: ## Build both sides and the demo
	@scripts/setup
	@$(CARGO) build --release $(BINARIES)

test: ## Install what is missing and run every test
	@scripts/setup --test
	@scripts/test

bench: ## Measure what the agent costs: records to spans, memory, a server's requests (as root)
	@scripts/setup --test
	@$(CARGO) build --release $(BINARIES)
	@$(CARGO) bench -p ratatosk
	@$(CARGO) run --release --quiet -p xtask -- bench stream
	@$(CARGO) xtask bench memory
	@$(CARGO) xtask bench app

fuzz: ## Fuzz every target for a minute each (FUZZ_SECONDS=600 make fuzz)
	@scripts/setup
	@scripts/fuzz

clean: ## Remove everything that was built
	@$(CARGO) clean
