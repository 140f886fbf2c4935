# Needs Python >= 3.10 with headers and venv, a C++20 compiler and make; everything else comes from PyPI.
#
#   make demo            build, install into .venv, and let the bundled model tell a story
#   make test            Python and C++ tests
#   make test-oracles    comparison with PyTorch and transformers, in .venv-oracles
#   make asan            C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   make tsan            C++ tests of what threads share under ThreadSanitizer
#   make test-aarch64    C++ tests of the NEON sets, cross-compiled, under qemu (Debian: g++-aarch64-linux-gnu qemu-user
#                        libgtest-dev)
#   make test-metal      the Metal kernels, compiled for this machine and run thread by thread, once more under
#                        sanitizers (Debian: clang-19 libclang-rt-19-dev)
#   make cross-macos     the package with Metal and MLX, compiled and linked for macOS on 64-bit ARM; nothing of it is run
#   make bench           C++ benchmarks
#   make bench-compare BASE=<rev>   whether NEW (default HEAD) is slower than BASE or takes more memory
#   make format          format C++ and Python; make check-format only looks
#   make clean           remove what was built; make distclean also the environments

PYTHON ?= python3
PROMPT ?= Once upon a time
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

VENV := .venv
ORACLES := .venv-oracles
BIN := $(VENV)/bin
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet

# pyproject.toml says which tools in which versions.
BUILD_TOOLS := $(shell sed -n 's/^requires = \[\(.*\)\]$$/\1/p' pyproject.toml | tr ',' ' ') "cmake>=3.24" ninja
CROSS_TOOLS := $(shell sed -n 's/^cross = \[\(.*\)\]$$/\1/p' pyproject.toml | tr ',' ' ')
MLX_TOOLS := $(shell sed -n 's/^mlx\(-build\)* = \[\(.*\)\]$$/\2/p' pyproject.toml | tr ',' ' ')
FORMAT_TOOLS := $(shell sed -n 's/^format = \[\(.*\)\]$$/\1/p' pyproject.toml | tr ',' ' ')

# Folders too, so that a file that is removed counts as a change.
SOURCES := CMakeLists.txt pyproject.toml README.md LICENSE \
  $(shell find csrc metal python third_party \( -name __pycache__ -prune \) -o \( -type f -o -type d \) -print)
CXX_FILES = $(shell find csrc metal python/src tests/cpp tests/metal benchmarks examples -name '*.cpp' -o -name '*.h' 2>/dev/null)

export PATH := $(CURDIR)/$(BIN):$(PATH)
# The repository's own settings decide, not those of whoever runs it.
unexport PYTHONPATH PYTHONHOME

.DELETE_ON_ERROR:
.PHONY: demo test test-python test-cpp test-oracles test-aarch64 test-metal cross-macos asan tsan bench bench-compare format check-format clean distclean

demo: $(VENV)/.installed
	$(BIN)/tritium run "$(PROMPT)"

test: test-cpp test-python
	@$(call say-if-no-googletest,release)

test-python: $(VENV)/.installed-tests
	$(BIN)/python -m pytest

test-cpp: build/release/.built
	ctest --test-dir build/release --parallel $(JOBS) --output-on-failure --no-tests=ignore \
	  --output-junit $(CURDIR)/build/release/ctest.xml

test-oracles: $(ORACLES)/.installed
	TORCHDYNAMO_DISABLE=1 $(ORACLES)/bin/python -m pytest tests/oracles

asan: build/asan/.built
	ctest --preset asan --parallel $(JOBS)

# Where threads meet. A sampler belongs to one thread, and its tests are long.
tsan: build/tsan/.built
	ctest --preset tsan --parallel $(JOBS) --label-regex '^(base|memory|model|backend|engine)$$' --exclude-regex 'Sampler\.'

# A processor for each set; on each, the sets that it has must pass and the others be skipped. The tests of the self-check
# itself and of measuring a device are slow there and run natively.
AARCH64_CPUS := max cortex-a76 cortex-a53
AARCH64_SETS_max := scalar neon neon_dotprod neon_i8mm
AARCH64_SETS_cortex-a76 := scalar neon neon_dotprod
AARCH64_SETS_cortex-a53 := scalar neon

test-aarch64: $(AARCH64_CPUS:%=test-aarch64-%)

test-aarch64-%: build/aarch64/.built
	QEMU_CPU=$* ctest --preset aarch64 --parallel $(JOBS) --label-regex '^(kernels|backend|engine)$$' \
	  --exclude-regex 'SelfCheck\.|IsMeasuredToBeSlower' \
	  --output-junit $(CURDIR)/build/aarch64/ctest-$*.xml
	$(BIN)/python .ci/check_tests.py --emulated build/aarch64/ctest-$*.xml $(AARCH64_SETS_$*)

# Where nvcc is, the kernels are compiled with it, too; tools/run_metal_kernels_on_nvidia.py runs them. The package with
# the Metal backend on the fake runtime takes the place of the one that is installed.
METAL_SITE := build/metal/site

test-metal: build/metal/.built build/metal-asan/.built $(VENV)/.installed-tests $(if $(shell command -v nvcc),build/cuda/.built)
	ctest --preset metal --parallel $(JOBS)
	ctest --preset metal-asan --parallel $(JOBS)
	rm -rf $(METAL_SITE)
	mkdir -p $(METAL_SITE)
	cp -r python/tritium $(METAL_SITE)
	cp build/metal/python/_core*.so $(METAL_SITE)/tritium
	PYTHONPATH=$(METAL_SITE) TRITIUM_REQUIRE_DEVICE=metal $(BIN)/python -m pytest tests/python/test_metal.py
	@command -v nvcc > /dev/null || echo "nvcc is not on the PATH; the Metal kernels were NOT compiled with it"

# Like the objects, what the compiler caches of them goes with `make clean`; its libc++ stays with the user.
cross-macos: export ZIG_LOCAL_CACHE_DIR := $(CURDIR)/build/cross-macos/zig-cache
cross-macos: $(VENV)/.cross-tools
	$(BIN)/python tests/metal/cross/make_python_stubs.py build/cross-macos/stubs
	cmake --preset cross-macos -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)"
	cmake --build --preset cross-macos --parallel $(JOBS)
	ctest --preset cross-macos --parallel $(JOBS)

bench: $(VENV)/.tools
	cmake --preset release -DTRITIUM_BUILD_BENCHMARKS=ON
	cmake --build --preset release --parallel $(JOBS)
	@for program in build/release/benchmarks/*; do \
	  if [ -f "$$program" ] && [ -x "$$program" ]; then echo "== $$program"; "$$program" || exit 1; fi; \
	done

# Each side is a worktree that stays, so that the next comparison compiles only what differs.
BASE ?= HEAD~1
NEW ?= HEAD
REVISION_base = $(BASE)
REVISION_new = $(NEW)

bench-compare: compare-base compare-new
	$(BIN)/python benchmarks/compare.py build/compare/base build/compare/new

compare-%: FORCE $(VENV)/.tools
	@$(BIN)/python $(PIP_INSTALL) numpy
	@git worktree prune
	@test -e build/compare/$*/.git || git worktree add --quiet --detach build/compare/$* HEAD
	git -C build/compare/$* checkout --quiet --force --detach "$$(git rev-parse --verify '$(REVISION_$*)^{commit}')"
	cmake -S build/compare/$* -B build/compare/$*/build/compare -G Ninja -DCMAKE_BUILD_TYPE=Release \
	  -DTRITIUM_BUILD_TESTS=OFF -DTRITIUM_BUILD_BENCHMARKS=ON -DTRITIUM_BUILD_PYTHON=ON \
	  -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(CURDIR)/build/compare/$*/python/tritium \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)"
	cmake --build build/compare/$*/build/compare --parallel $(JOBS)

format: $(VENV)/.format-tools
	$(BIN)/clang-format -i $(CXX_FILES)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check-format: $(VENV)/.format-tools
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf build

distclean: clean
	rm -rf $(VENV) $(ORACLES)

# Environments

# An argument of `call` cannot hold a comma.
comma := ,

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "Python 3.10 or newer is needed; this is %d.%d. Name another one: make PYTHON=..." % v[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.tools: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python $(PIP_INSTALL) $(BUILD_TOOLS)
	@$(BIN)/python $(PIP_INSTALL) $(MLX_TOOLS) || \
	  echo "MLX: no wheel for this system; its extension is NOT built, and its tests will fail"
	@touch $@

$(VENV)/.cross-tools: $(VENV)/.tools
	$(BIN)/python $(PIP_INSTALL) $(CROSS_TOOLS)
	@touch $@

$(VENV)/.format-tools: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python $(PIP_INSTALL) $(FORMAT_TOOLS)
	@touch $@

# The wheel is built in place, with the tools of the environment, so that a change compiles only what it touches.
build/wheel/.built: $(SOURCES) $(VENV)/.tools
	@mkdir -p build/wheel
	@rm -f build/wheel/*.whl
	$(BIN)/python -m pip --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir build/wheel \
	  --config-settings=build-dir=build/wheel/cmake .
	@touch $@

# pip does not replace a package by one of the same version, so the second call forces it.
# $(call install-wheel,<environment>,<extras>)
define install-wheel
	$(1)/bin/python $(PIP_INSTALL) "$$(echo build/wheel/tritium-*.whl)$(2)"
	$(1)/bin/python $(PIP_INSTALL) --force-reinstall --no-deps build/wheel/tritium-*.whl
endef

$(VENV)/.installed: build/wheel/.built
	$(call install-wheel,$(VENV),)
	@touch $@

$(VENV)/.installed-tests: build/wheel/.built
	$(call install-wheel,$(VENV),[test])
	@touch $(VENV)/.installed $@

$(ORACLES)/bin/python: | $(VENV)/bin/python
	$(PYTHON) -m venv $(ORACLES)

$(ORACLES)/.installed: build/wheel/.built | $(ORACLES)/bin/python
	$(call install-wheel,$(ORACLES),[test$(comma)oracles])
	@touch $@

# C++

CONFIGURE_metal = -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)"

build/%/.built: FORCE $(VENV)/.tools
	cmake --preset $* $(CONFIGURE_$*)
	cmake --build --preset $* --parallel $(JOBS)
	@$(call say-if-no-googletest,$*)

# $(call say-if-no-googletest,<preset>)
say-if-no-googletest = grep -q '^GoogleTest_AVAILABLE:INTERNAL=ON' build/$(1)/CMakeCache.txt || \
  echo "GoogleTest: neither on this system nor reachable; C++ tests are NOT built"

.PHONY: FORCE
FORCE:
