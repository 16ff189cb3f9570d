# The verbs of this repository. Each sets up what it needs first (tools/setup.sh; a moment when
# nothing is missing). Options: JOBS=N compile jobs, MODEL=PATH and ARGS="--option ..." for `run`.
JOBS ?= $(shell nproc)
MODEL ?= build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
ARGS ?=
FUZZ_SECONDS ?= 60
LONG_SECONDS ?= 1500
SOAK_MINUTES ?= 120
PLANTED ?= engine
GPU_ARCHITECTURES ?= 90
space := $(subst ,, )
.DEFAULT_GOAL := test

.PHONY: help
help: ## Lists the verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: setup
setup: ## Installs Debian packages, and the demo's model under build/deps
	@tools/setup.sh

.PHONY: test
test: setup ## Builds and runs the quick tests (what plain `make` does)
	@cmake --preset dev >build/dev.configure.log || { cat build/dev.configure.log; exit 1; }
	@ninja -C build/dev -j $(JOBS)
	@ctest --test-dir build/dev -L unit -j $(JOBS) --output-on-failure --no-tests=error

.PHONY: release
release: setup ## Builds what ships, in build/release/bin
	@cmake --preset release >build/release.configure.log || { cat build/release.configure.log; exit 1; }
	@ninja -C build/release -j $(JOBS)

.PHONY: cuda
cuda: ## Builds what ships with the CUDA device too, in build/cuda/bin, where nvcc 13.0 is
	@tools/find_nvcc.sh >/dev/null
	@tools/setup.sh
	@cmake --preset cuda >build/cuda.configure.log || { cat build/cuda.configure.log; exit 1; }
	@ninja -C build/cuda -j $(JOBS) peerage-server peerage peerage-model

# Programs for one card alone, without lines of the sources: what travels to a machine has to be small.
.PHONY: gpu-pack
gpu-pack: ## Packs what gpu-check needs on a machine that has only a GPU of GPU_ARCHITECTURES (90)
	@tools/find_nvcc.sh >/dev/null
	@tools/setup.sh
	@cmake --preset cuda -B build/gpu-pack-build -DPEERAGE_CUDA_LINE_INFO=OFF \
	  "-DPEERAGE_CUDA_ARCHITECTURES=$(subst $(space),;,$(foreach n,$(GPU_ARCHITECTURES),$(n)-real $(n)-virtual))" \
	  >build/gpu-pack.configure.log || { cat build/gpu-pack.configure.log; exit 1; }
	@ninja -C build/gpu-pack-build -j $(JOBS) peerage-server peerage model_bench cuda_kernels_bench cuda_device_tests
	@tools/gpu_check.py --build build/gpu-pack-build --pack build/gpu-pack.tar.xz

.PHONY: gpu-check
gpu-check: ## Tests and measures on this machine's GPU what gpu-pack built, into build/gpu-check
	@tools/gpu_check.py --build $(or $(wildcard build/gpu-pack.tar.xz),build/cuda)

.PHONY: package
package: programs ## Makes a Debian package of the programs, in build/package
	@rm -rf build/package
	@cd build/release && cpack -B ../package >../package.log || { cat ../package.log; exit 1; }
	@ls build/package/*.deb

.PHONY: image
image: ## Builds the container image and its SBOM, in build/image
	@tools/setup.sh image
	@tools/image.sh save build/image

.PHONY: dist
dist: package ## Makes what a release has, in build/dist: package, image, SBOM, SHA256SUMS
	@tools/setup.sh image
	@rm -rf build/dist && mkdir build/dist && cp build/package/*.deb build/dist
	@tools/image.sh save build/dist
	@cd build/dist && sha256sum -- * >SHA256SUMS && sha256sum --check --quiet SHA256SUMS && cat SHA256SUMS

.PHONY: programs
programs: setup
	@cmake --preset release >build/release.configure.log || { cat build/release.configure.log; exit 1; }
	@ninja -C build/release -j $(JOBS) peerage-server peerage peerage-model

.PHONY: check
check: ## Runs every required test (CI runs this)
	@tools/setup.sh image
	@JOBS=$(JOBS) tools/check.sh

.PHONY: check-long
check-long: ## Builds and tests the image, reads, simulates and fuzzes for LONG_SECONDS (1500)
	@tools/setup.sh image
	@JOBS=$(JOBS) tools/check_long.sh $(LONG_SECONDS)

.PHONY: planted
planted: setup ## Plants mistakes, one by one, and has tests find them: PLANTED names some, or engine or cuda (nvcc)
	@JOBS=$(JOBS) tests/planted/run $(PLANTED)

.PHONY: demo
demo: programs ## Serves a real model, a PEER model and a mixture: chat, scores, expert use
	@tools/demo.sh

.PHONY: run
run: programs ## Serves MODEL in the foreground; ARGS are further options
	@build/release/bin/peerage-server --model $(MODEL) $(ARGS)

.PHONY: bench
bench: release ## Measures kernels and the engine
	@set -e; for program in build/release/bin/*_bench; do echo "== $$program"; $$program; done

.PHONY: compare
compare: release ## Measures beside llama.cpp in one run (builds llama.cpp the first time)
	@bench/peers/llama_cpp.sh
	@build/deps/venv/bin/python bench/serving/compare_llama_cpp.py --model $(MODEL)
	@build/deps/venv/bin/python bench/serving/perplexity_llama_cpp.py --model $(MODEL)

.PHONY: format
format: ## Formats every source with clang-format
	@git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs -r clang-format -i

.PHONY: tidy
tidy: setup ## Runs clang-tidy over every source of the product
	@JOBS=$(JOBS) tools/tidy.sh base model model/nn/cuda server client

.PHONY: soak
soak: programs ## Serves clients and attackers for SOAK_MINUTES (120): does memory grow, does anything stay?
	@PEERAGE_BIN=build/release/bin build/deps/venv/bin/python tests/integration/hostile/soak.py \
	  --minutes $(SOAK_MINUTES)

.PHONY: fuzz
fuzz: setup ## Fuzzes every reader for FUZZ_SECONDS each (60); findings land in build/fuzz
	@tools/fuzz.sh $(FUZZ_SECONDS)

.PHONY: oracle
oracle: ## Compares kernels and layers with ATen (LibTorch: 531 MB the first time)
	@tools/setup.sh torch
	@cmake --preset oracle >build/oracle.configure.log || { cat build/oracle.configure.log; exit 1; }
	@ninja -C build/oracle -j $(JOBS) aten_oracle_test
	@ctest --test-dir build/oracle -L oracle --output-on-failure --no-tests=error

.PHONY: train
train: ## Builds the trainer, build/oracle/bin/peerage-train (LibTorch: 531 MB the first time)
	@tools/setup.sh torch
	@cmake --preset oracle >build/oracle.configure.log || { cat build/oracle.configure.log; exit 1; }
	@ninja -C build/oracle -j $(JOBS) peerage-train

.PHONY: torch-wheel
torch-wheel: ## Makes the wheel of peerage_torch, in build/torch-wheel (LibTorch: 531 MB the first time)
	@tools/setup.sh torch
	@tools/setup.sh image
	@cmake --preset oracle >build/oracle.configure.log || { cat build/oracle.configure.log; exit 1; }
	@ninja -C build/oracle -j $(JOBS) peerage_torch_operators
	@build/deps/python-client-venv/bin/python -m build --wheel --no-isolation \
	  --outdir build/torch-wheel train/python

.PHONY: train-check
train-check: train ## Tests training beside PyTorch, peer-pytorch and the server (they take 3 GB the first time)
	@tools/setup.sh golden
	@tools/setup.sh image
	@ninja -C build/oracle -j $(JOBS) peerage_torch_operators tests/train/all
	@ctest --test-dir build/oracle -L train --output-on-failure --no-tests=error

.PHONY: recipes
recipes: ## Lists the recipes of train/recipes, which train models and score them, with minutes
	@python3 train/recipes/run.py

.PHONY: recipe
recipe: train programs ## Runs the recipe RECIPE; ARGS are further options (train/recipes/run.py)
	@build/deps/venv/bin/python train/recipes/run.py $(RECIPE) $(ARGS)

.PHONY: results
results: ## Makes the tables and pictures of docs/results.md from docs/results/*.json
	@tools/setup.sh pictures
	@python3 train/recipes/tables.py
	@build/deps/pictures-venv/bin/python train/recipes/pictures.py

.PHONY: golden
golden: ## Rebuilds the expected values of tests/golden (a 3 GB download the first time)
	@tools/setup.sh golden
	@build/deps/golden-venv/bin/python tests/golden/make_smollm2_golden.py $(MODEL)
	@build/deps/golden-venv/bin/python tests/golden/make_tiny_models.py
	@build/deps/golden-venv/bin/python tests/golden/make_layout_models.py
	@build/deps/golden-venv/bin/python tests/golden/make_product_key_models.py
	@build/deps/golden-venv/bin/python tests/golden/make_peer_model.py
	@build/deps/golden-venv/bin/python tests/golden/make_mixture_models.py
	@build/deps/golden-venv/bin/python tests/golden/make_hidden_golden.py
	@build/deps/golden-venv/bin/python tests/golden/make_torch_files.py
	@build/deps/golden-venv/bin/python tests/golden/make_from_pytorch.py
	@build/deps/golden-venv/bin/python tests/train/make_train_golden.py

.PHONY: proto-release
proto-release: setup ## Makes the present wire contract the one that later changes must not break
	@tools/check_proto.sh --release

.PHONY: clean
clean: ## Removes what was built; keeps build/deps
	@find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} +
