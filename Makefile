# The developers' menu. `./consentry test` is what CI runs; these are its parts, and what it does not do.
SHELL := /bin/sh
BIN := .venv/bin
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
.DEFAULT_GOAL := menu
.PHONY: menu run test lint type unit fuzz lab bench bench-peers bench-check bench-readme screenshots constraints guest guest-boot campaign unbroken others deb deb-test clean

menu: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

run: ## the lab and the TUI
	$(SUDO) ./consentry run

test: ## everything CI checks
	$(SUDO) ./consentry test

lint: ## ruff, import contracts, shell scripts (needs shellcheck)
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	shellcheck consentry .ci/run packaging/build packaging/debian/p* tests/campaign/deb.sh tests/guest/run.sh

type: ## mypy, strict
	$(BIN)/mypy

unit: ## tests that need neither root nor namespaces
	$(BIN)/pytest -m "not lab"

fuzz: ## readers of other people's bytes tried at length (ten minutes); what breaks one is kept in tests/fuzz
	$(BIN)/pytest -m hypothesis --hypothesis-profile=long --timeout=0 -p no:rerunfailures -o addopts="--import-mode=importlib -n auto" \
		tests/firewall/dissect tests/firewall/test_speech.py tests/firewall/test_stream.py || status=1; \
	git ls-files -dz tests/fuzz | xargs -0r git restore; exit $${status:-0}  # hypothesis drops what breaks nothing any more

lab: ## tests in network namespaces, from a phone to the internet
	$(SUDO) $(BIN)/pytest -m lab

guest: ## the gate on a stock kernel with radios, in QEMU (docs/guest.md; four minutes at most; needs .venv)
	tests/guest/run.sh || [ $$? = 77 ]

guest-boot: ## systemd, the lock and a power cut, in QEMU (two minutes)
	tests/guest/run.sh --reboot || [ $$? = 77 ]

campaign: ## the gate struck at length, into tests/campaign (a quarter of an hour)
	status=0; $(SUDO) $(BIN)/python tests/campaign/run.py || status=1; \
	tests/guest/run.sh --reboot || [ $$? = 77 ] || status=1; exit $$status

unbroken: ## what must not be broken, QUIC as well, into tests/campaign (a quarter of an hour)
	status=0; for part in quic unbroken; do $(SUDO) $(BIN)/python tests/campaign/$$part.py || status=1; done; exit $$status

others: ## captures of yours beside tshark, name by name: make others DIRS="/some/folder ..."
	$(BIN)/python tests/campaign/others.py $(DIRS)

bench: bench-peers ## every promise, measured beside its peers, into bench/results/ (a quarter of an hour)
	$(SUDO) $(BIN)/python bench/run.py

bench-peers: ## what we are compared with: Debian's packages, and mitmproxy in a venv of its own
	for program in iperf3 wrk nginx dnsperf dnsmasq unbound ethtool tshark ndpiReader; do \
		PATH=$$PATH:/usr/sbin command -v $$program >/dev/null || missing=1; done; \
	[ -z "$$missing" ] || $(SUDO) apt-get install -y --no-install-recommends \
		iperf3 wrk nginx-light dnsperf dnsmasq-base unbound ethtool tshark libndpi-bin || echo "without them: skipped, visibly"
	[ -x .venv/peers/bin/mitmdump ] || { python3 -m venv .venv/peers && \
		.venv/peers/bin/pip install --quiet -r bench/peers.txt; } || echo "without mitmproxy: skipped, visibly"

bench-check: ## fails if the last measurement is under a floor (bench/floors.toml)
	$(BIN)/python bench/check.py

bench-readme: ## the last measurement becomes bench/results.json and the README's table
	$(BIN)/python bench/table.py

screenshots: ## the README's pictures, from the real TUI
	$(BIN)/python docs/make_screenshots.py

constraints: ## renew the pins from a clean environment with the newest that pyproject.toml allows
	d=$$(mktemp -d) && python3 -m venv $$d && $$d/bin/pip install --quiet '.[test]' && \
	{ sed -n 1p constraints.txt; $$d/bin/pip freeze --exclude consentry; } > constraints.new && \
	mv constraints.new constraints.txt && rm -r $$d

deb: ## a Debian package of this checkout, into dist/
	packaging/build

deb-test: deb ## it is installed, upgraded, removed and purged on a copy of this machine (four minutes)
	$(SUDO) tests/campaign/deb.sh dist/consentry_*.deb

clean: ## remove what tools made here; the next start prepares anew
	$(SUDO) rm -rf .venv dist bench/results .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	$(SUDO) find . -name __pycache__ -prune -exec rm -r {} +
