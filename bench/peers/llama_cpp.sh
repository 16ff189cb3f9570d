#!/usr/bin/env bash
# Builds llama.cpp's measuring tools for this machine's CPU from a pinned source package, into
# build/deps/llama.cpp/bin. About ten minutes on two cores, the first time only.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly jobs=${JOBS:-$(nproc)}
readonly folder=build/deps/llama.cpp
readonly pinned=tools/requirements/llama_cpp.txt
readonly tools=(llama-bench llama-batched-bench llama-perplexity)

if [[ -f $folder/.stamp ]] && cmp -s "$pinned" "$folder/.stamp"; then exit 0; fi
rm -rf "$folder"
mkdir -p "$folder/source"

echo "llama.cpp: downloading its sources (77 MB)"
build/deps/venv/bin/pip download --quiet --disable-pip-version-check --no-input --no-deps \
  --no-binary=llama-cpp-python --require-hashes --requirement "$pinned" --dest "$folder"
tar -xzf "$folder"/llama_cpp_python-*.tar.gz -C "$folder/source" --strip-components=1

echo "llama.cpp: building ${tools[*]}"
cmake -S "$folder/source/vendor/llama.cpp" -B "$folder/build" -G Ninja \
  -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF \
  -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
  -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF >"$folder/configure.log"
ninja -C "$folder/build" -j "$jobs" "${tools[@]}"

mkdir -p "$folder/bin"
cp "${tools[@]/#/$folder/build/bin/}" "$folder/bin/"
rm -rf "$folder/build" "$folder"/*.tar.gz
cp "$pinned" "$folder/.stamp"
