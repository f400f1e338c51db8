# The short commands. CMakePresets.json holds the builds themselves.
PRESETS ?= cpu-release cpu-release-clang cpu-asan cpu-tsan
JOBS ?= $(shell nproc)
TEXT ?=
BEFORE ?=
DEMO_TEXT := build/demo/text.txt

.PHONY: demo test bench bench-cuda compare time-to-loss compress format check-format clean
.DEFAULT_GOAL := test

# Trains a small model on TEXT, or on the C++ headers, and generates text.
demo:
	bash cmake/install_packages.sh demo
	cmake --preset cpu-release -DSTRATA_TESTS=OFF -DSTRATA_BENCHMARKS=OFF -DSTRATA_EXPERIMENTS=OFF
	cmake --build --preset cpu-release -j $(JOBS)
	$(if $(TEXT),,bash cmake/make_demo_text.sh $(DEMO_TEXT))
	build/cpu-release/examples/train_text --text '$(or $(TEXT),$(DEMO_TEXT))' --model demo --out build/demo --overwrite --seconds 120

# Every test, in every preset of PRESETS.
test:
	bash cmake/install_packages.sh test
	bash cmake/check_format.sh
	set -e; for preset in $(PRESETS); do \
	  echo "== $$preset"; \
	  cmake --preset $$preset; \
	  cmake --build --preset $$preset -j $(JOBS); \
	  ctest --preset $$preset -j $(JOBS); \
	done

bench:
	bash cmake/install_packages.sh bench
	cmake --preset cpu-release -DSTRATA_TESTS=OFF -DSTRATA_EXAMPLES=OFF
	cmake --build --preset cpu-release -j $(JOBS)
	set -e; for program in $$(find build/cpu-release/benchmarks -maxdepth 1 -type f -executable | sort); do \
	  echo "== $$program"; \
	  $$program --benchmark_out=build/$$(basename $$program).json --benchmark_out_format=json; \
	done

# Operations and models on a GPU; it needs CUDA's toolkit.
bench-cuda:
	bash cmake/install_packages.sh bench
	cmake --preset cuda-release -DSTRATA_TESTS=OFF -DSTRATA_EXAMPLES=OFF
	cmake --build --preset cuda-release -j $(JOBS) --target operations_cuda models_cuda
	set -e; for program in operations_cuda models_cuda; do \
	  echo "== $$program"; \
	  build/cuda-release/benchmarks/$$program --benchmark_out=build/$$program.json --benchmark_out_format=json; \
	done

# Losses, speed and memory beside the PyTorch package with interchangeable weights.
compare:
	bash cmake/install_packages.sh compare
	cmake --preset cpu-release -DSTRATA_TESTS=OFF -DSTRATA_EXAMPLES=OFF
	cmake --build --preset cpu-release -j $(JOBS) --target strata_side
	$(MAKE) build/compare/venv/installed
	build/compare/venv/bin/python benchmarks/compare/compare.py

# Seconds of training until a loss, beside a plain GPT in PyTorch. TEXT is required; BEFORE is another train_text.
time-to-loss:
	@[ -n '$(TEXT)' ] || { echo 'TEXT is missing: make time-to-loss TEXT=book.txt' >&2; exit 1; }
	bash cmake/install_packages.sh compare
	cmake --preset cpu-release -DSTRATA_TESTS=OFF -DSTRATA_BENCHMARKS=OFF -DSTRATA_EXPERIMENTS=OFF
	cmake --build --preset cpu-release -j $(JOBS) --target train_text
	$(MAKE) build/compare/venv/installed
	build/compare/venv/bin/python benchmarks/compare/time_to_loss.py --text '$(TEXT)' --out build/time-to-loss \
	  --program now=build/cpu-release/examples/train_text $(if $(BEFORE),--program 'before=$(BEFORE)') \
	  --plain-gpt build/compare/venv/bin/python

# Bits per byte and seconds of compress_text beside Debian's compressors; TEXT is one more file.
compress:
	bash cmake/install_packages.sh compress
	cmake --preset cpu-release -DSTRATA_TESTS=OFF -DSTRATA_BENCHMARKS=OFF -DSTRATA_EXPERIMENTS=OFF
	cmake --build --preset cpu-release -j $(JOBS) --target compress_text
	bash benchmarks/compare/compress.sh build/cpu-release/examples/compress_text '$(TEXT)'

build/compare/venv/installed: benchmarks/compare/requirements.txt
	python3 -m venv build/compare/venv
	build/compare/venv/bin/pip install -r $<
	touch $@

format:
	bash cmake/check_format.sh fix

check-format:
	bash cmake/check_format.sh

clean:
	rm -rf build
