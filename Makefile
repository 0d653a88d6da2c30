# Each target is one line to explain; see README.md.
LINT = go tool -modfile=tools/go.mod

.PHONY: build test lint bench fuzz generate demo

build: ## the program, static
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o stray .

test: ## all tests; RACE=-race looks for data races too
	go test $(RACE) ./...

lint: ## what CI refuses
	@test -z "$$($(LINT) gofumpt -l .)" || { echo "gofumpt -w wants:"; $(LINT) gofumpt -l .; exit 1; }
	go vet ./...
	GOARCH=arm64 go vet ./...
	$(LINT) staticcheck ./...

bench: ## paired with ss, fuser, lsof and lsfd, in worlds of many descriptors
	STRAY_BENCH_WORLDS=all go test -run '^$$' -bench . -benchtime 5x -timeout 30m ./internal/bench

fuzz: ## every fuzz target, for a minute each
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do go test -run '^$$' -fuzz "^$$f$$" -fuzztime 1m $$p || exit 1; done; done

generate: ## documents and golden files that derive from the code
	go test ./report -update
	go test ./fdscan -run TestDocument -update

demo: build ## a server that leaks its port into sleep(1), and what stray says of it
	@go run ./internal/demo ./stray
