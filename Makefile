# Everything that a developer of Skein runs. `make help` lists it.

LISTEN   ?= 127.0.0.1:8000
FUZZTIME ?= 10s
GO       ?= go

# The race detector watches everything but SQLite itself, which is C made into Go: nothing of
# ours is shared inside it, and watched it takes six times as long.
RACE = -race $(foreach p,sqlite/lib libc memory,-gcflags=modernc.org/$(p)=-race=false)

.DEFAULT_GOAL := help
.PHONY: help run build sdk console test test-setup test-go test-browser test-socketio test-sdk lint fuzz bench autobahn clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build and start a development server; prints the URLs of console and demos
	@exec bin/skein serve --dev --listen $(LISTEN)

build: sdk console ## build bin/skein
	@$(GO) build -trimpath -buildvcs=auto -o bin/skein ./cmd/skein

sdk: ## bundle the JavaScript client that the server gives out
	@$(GO) run -C tools ./sdk ../sdk/js/src/index.ts ../internal/edge/sdk/dist/skein.js
	@$(GO) run -C tools ./sdk ../sdk/js/src/chat.ts ../internal/edge/sdk/dist/chat.js

console: ## build the console's page, where there is Node.js
	@tools/console maybe

test: test-setup ## run every test; on Debian as root, installs what they need
	@$(MAKE) --no-print-directory test-go
	@$(MAKE) --no-print-directory -j2 test-browser test-socketio test-sdk

test-setup:
	@tools/setup-test all

test-go: build ## run the Go tests with the race detector, and the protocol vectors
	@tools/setup-test go
	@$(GO) test $(RACE) -timeout 20m . ./store/... ./... # the long ones first

test-browser: build ## drive the demo pages in Chromium
	@tools/setup-test browser
	@cd test/browser && export PATH="$(CURDIR)/.cache/node/bin:$$PATH" BINARY_UNDER_TEST=$(CURDIR)/bin/skein && npm ci --no-audit --no-fund --silent && npm test

test-socketio: build ## let the clients of Socket.IO, all versions, talk to the server
	@tools/setup-test browser
	@cd test/socketio && export PATH="$(CURDIR)/.cache/node/bin:$$PATH" && npm ci --no-audit --no-fund --silent && npm test

test-sdk: build ## test the JavaScript client in Node, Chromium, Deno and Bun, and its package
	@tools/setup-test browser
	@export PATH="$(CURDIR)/.cache/node/bin:$$PATH" BINARY_UNDER_TEST=$(CURDIR)/bin/skein && \
		cd sdk/js && npm ci --no-audit --no-fund --silent && npm run --silent lint && npm test && \
		cd ../../test/sdk && npm ci --no-audit --no-fund --silent && npm test

lint: ## check format, vet, staticcheck
	@tools/lint

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@tools/fuzz $(FUZZTIME)

bench: ## measure each budget as a ratio, on this machine
	@$(GO) run ./bench

autobahn: build ## run the Autobahn suite against the echo endpoint; CASES=--exclude=... narrows it
	@tools/autobahn $(CASES)

clean: ## remove what the targets built
	@rm -rf bin internal/edge/sdk/dist/*.js test/browser/node_modules test/socketio/node_modules test/sdk/node_modules sdk/js/node_modules sdk/js/dist sdk/js/build
