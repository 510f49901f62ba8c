# Run `make` for the list of targets.

GOLANGCI_LINT      := v2.15.0
PROTOC_GEN_GO      := v1.36.12
PROTOC_GEN_GO_GRPC := v1.6.2
OAPI_CODEGEN       := v2.8.2

GO    := go
GOBIN := $(or $(shell $(GO) env GOBIN),$(shell $(GO) env GOPATH)/bin)
PROTO := messages/solti/v1/*.proto messages/slotd/v1/*.proto

# tool(name, package, version) builds a tool into the Go bin folder unless that very version is there.
tool = @$(GO) version -m $(GOBIN)/$(1) 2>/dev/null | grep -q '[[:space:]]mod[[:space:]].*[[:space:]]$(3)[[:space:]]' || \
	{ echo "building $(1) $(3)" >&2; GOBIN=$(GOBIN) $(GO) install $(2)@$(3); }

# The race detector needs cgo and a C compiler. A newcomer may have neither; where everything is promised, its absence
# is a failure of `go test -race` itself.
ifeq ($(SLOTD_CI),1)
RACE := -race
else
RACE := $(if $(and $(filter 1,$(shell $(GO) env CGO_ENABLED)),$(shell command -v $$($(GO) env CC))),-race)
endif

.DEFAULT_GOAL := help
.PHONY: help build test soak fuzz lint bench demo generate

help: ## list the targets
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## build bin/slotd
	$(GO) build -o bin/slotd ./cmd/slotd

test: ## everything needed to trust a change; what lacks a tool here is skipped and listed
	@$(if $(RACE),,echo "NOTE: no C compiler, so no race detector: races go unnoticed in this run" >&2;) \
	skips=$$(mktemp) && trap 'rm -f "$$skips"' EXIT && status=0; \
	SLOTD_SKIPS="$$skips" $(GO) test $(RACE) -count=1 -timeout=20m ./... || status=$$?; \
	if [ -s "$$skips" ]; then echo "SKIPPED, because this machine lacks something:" >&2; sort -u "$$skips" | sed 's/^/  /' >&2; fi; \
	exit $$status

SOAK := 30m

soak: ## kill and restart nodes under load for SOAK=30m, with fresh seeds
	SLOTD_FAULTS_SOAK=$(SOAK) $(GO) test $(RACE) -count=1 -timeout=0 -run TestNothingIsLostOrDoubled -v ./test/faults

FUZZTIME := 5s

fuzz: ## run every fuzz target for FUZZTIME=5s; what one finds stays in its package's testdata/fuzz
	@GO=$(GO) test/fuzz/run.sh $(FUZZTIME)

lint: ## golangci-lint with every rule of .golangci.yml
	$(call tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT))
	$(GOBIN)/golangci-lint run ./...

demo: build ## a tour of slotd against a node of its own, which leaves nothing behind
	@test/demo/tour.sh bin/slotd

bench: ## measure every figure beside its floor and rewrite test/bench/RESULTS.md
	$(GO) run ./test/bench/figures -write test/bench/RESULTS.md

generate: ## regenerate messages/**/*.pb.go and test/openapi/client (needs protoc: Debian's protobuf-compiler)
	$(call tool,protoc-gen-go,google.golang.org/protobuf/cmd/protoc-gen-go,$(PROTOC_GEN_GO))
	$(call tool,protoc-gen-go-grpc,google.golang.org/grpc/cmd/protoc-gen-go-grpc,$(PROTOC_GEN_GO_GRPC))
	PATH="$(GOBIN):$$PATH" protoc -I messages --go_out=paths=source_relative:messages \
		--go-grpc_out=paths=source_relative:messages $(PROTO)
	$(call tool,oapi-codegen,github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen,$(OAPI_CODEGEN))
	cd test/openapi/client && $(GOBIN)/oapi-codegen -config oapi-codegen.yaml ../../../gateway/rest/openapi.yaml
