# SPDX-License-Identifier: MIT
# A front for meson and ninja. `make help` lists the targets.
.POSIX:
PREFIX = /usr/local
BUILD = build
# Warnings are errors in CI, and for whoever works on Provium: make WERROR=-Dwerror=true (HACKING.md). In CI the unit tests
# and the C tests of the suite fake run under sanitizers, too.
WERROR = $(if $(CI),-Dwerror=true -Dsanitize_tests=true)

all: build

help:
	@echo 'make          build ./build/provium (sets up what is missing)'
	@echo 'make setup    install missing Debian packages, get the default guest'
	@echo 'make demo     boot real VMs and run the examples in them'
	@echo 'make check    everything that CI runs'
	@echo 'make check-asan  all but tests/e2e, with ASan and UBSan'
	@echo 'make lint     clang-tidy, cppcheck and shellcheck on all files'
	@echo 'make coverage the tests without VMs counted by gcov, a report in build-coverage/report'
	@echo 'make check-kvm  VMs under KVM; without one, inside of an emulated machine that has it'
	@echo 'make check-slurm  shards of a run as a job array of a real Slurm, on this machine (root)'
	@echo 'make check-distros  make demo and make check in bare chroots of Debian 12 and 13 (root, mmdebstrap)'
	@echo 'make bench    measure, as ratios to the raw thing'
	@echo 'make fuzz SECONDS=60  every fuzz target under libFuzzer for SECONDS (clang)'
	@echo 'make soak     2,000 resumes, 100 clones at once, 50 restores, 10,000 changes of code'
	@echo 'make install  into PREFIX ($(PREFIX)), DESTDIR is honoured'
	@echo 'make dist     provium-VERSION.tar.xz of the last commit'
	@echo 'make deb      a Debian package of it, in build/deb'
	@echo 'make clean    remove what was built, keep the default guest'
	@echo 'make distclean  remove that too'

setup:
	@scripts/setup

$(BUILD)/build.ninja: setup
	@test -f $@ || meson setup $(BUILD) $(WERROR) >$(BUILD)-setup.log 2>&1 || { cat $(BUILD)-setup.log; exit 1; }
	@rm -f $(BUILD)-setup.log

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

demo: build
	@$(BUILD)/provium test examples

check: $(BUILD)/build.ninja
	@scripts/check

check-asan: setup
	@scripts/check-asan

lint: $(BUILD)/build.ninja
	@scripts/lint

coverage: setup
	@scripts/coverage

check-distros:
	@scripts/check-distros

check-kvm: build
	@scripts/check-kvm

check-slurm: build
	@tests/slurm/run

bench: build
	@bench/run

# Each target of fuzz/ for so many seconds.
SECONDS = 60
fuzz: setup
	@scripts/fuzz $(SECONDS)

soak: build
	@bench/soak/run

# The binary looks for its guest in ../share/provium/guest beside its own directory.
install: build
	@install -D -m 755 $(BUILD)/provium $(DESTDIR)$(PREFIX)/bin/provium
	@scripts/install-guest $(BUILD)/guest $(DESTDIR)$(PREFIX)/share
	@for f in man/man1/provium.1 man/man5/provium.toml.5 man/man7/provium-lua.7 bash-completion/completions/provium \
		zsh/site-functions/_provium fish/vendor_completions.d/provium.fish; do \
		install -D -m 644 $(BUILD)/scripts/$${f##*/} $(DESTDIR)$(PREFIX)/share/$$f || exit 1; done

# An archive of the files that git has, with the version's name in front.
dist:
	@v=provium-$$(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build) && \
		git archive --prefix=$$v/ HEAD | xz -9 >$$v.tar.xz && echo "$$v.tar.xz"

deb:
	@scripts/deb

clean:
	@if [ -d $(BUILD) ]; then find $(BUILD) -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} +; fi
	@rm -rf build-check build-asan build-coverage build-fuzz

distclean:
	@rm -rf $(BUILD) build-check build-asan build-coverage build-fuzz

.PHONY: all help setup build demo check check-asan lint coverage check-distros check-kvm check-slurm bench fuzz soak install dist deb clean distclean
