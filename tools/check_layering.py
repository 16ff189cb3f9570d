#!/usr/bin/env python3
"""Who may include whom (docs/architecture.md), read from the #include lines, and what the Python client
may import.

Usage: check_layering.py [ROOT]. Prints one line per violation; exit code 1 when there is one.
"""

import ast
import pathlib
import re
import sys

# What a folder (or one file) may include of ours, beside itself: folders (their own files, not
# their subfolders'), or single headers. The longest match decides.
MAY_INCLUDE = {
    "base": set(),
    "base/command_line": {"base"},
    "client": {"base", "base/command_line", "model/experts", "peerage/v1", "grpc/health/v1"},
    "server": {"base", "base/command_line", "server", "server/door", "server/engine", "server/rpc", "server/metrics", "server/http",
               "server/pages", "server/experts", "server/identity", "server/log", "model", "model/config", "model/experts", "model/tokenizer",
               "model/checkpoint", "model/nn", "model/nn/plan"},
    "server/rpc": {"base", "server/rpc/request", "server/door", "server/listen_address.h", "server/engine", "server/experts", "server/identity", "server/log",
                   "model", "model/experts", "model/tokenizer", "peerage/v1"},
    "server/rpc/request": {"base", "server/engine", "server/identity", "model", "model/experts", "model/tokenizer",
                           "peerage/v1"},
    "server/door": {"base", "server/address_ranges.h", "server/engine/clock.h", "server/listen_address.h", "server/log"},
    "server/log": {"base", "server/engine/clock.h", "server/engine/observer.h"},
    "server/identity": {"base", "server/engine/error_reason.h", "server/engine/expert_trace.h",
                        "server/engine/retry_delay.h"},
    "server/experts": {"base", "server/engine", "model", "model/experts"},
    "server/engine": {"base", "model", "model/experts", "model/tokenizer"},
    "server/metrics": {"base", "server/engine/clock.h", "server/engine/engine_status.h",
                       "server/engine/observer.h", "server/door/door_observer.h", "server/door/refusal.h", "server/door/tls_context.h", "server/experts", "server/identity", "model", "model/experts"},
    "server/pages": {"base", "server/engine", "server/experts", "server/http", "model",
                     "model/experts", "model/tokenizer"},
    "server/http": {"base", "server/door", "server/engine/clock.h", "server/listen_address.h"},
    "model": {"model/experts"},
    "model/config": {"base", "model"},
    "model/experts": {"base"},
    "model/tokenizer": {"base", "model"},
    "model/checkpoint": {"base", "model", "model/config", "model/tokenizer",
                         "model/checkpoint/config", "model/checkpoint/container",
                         "model/checkpoint/layout"},
    "model/checkpoint/container": {"base", "model"},
    "model/checkpoint/config": {"base", "model", "model/config", "model/tokenizer",
                                "model/checkpoint/container"},
    "model/checkpoint/layout": {"base", "model", "model/config", "model/checkpoint/checkpoint.h",
                                "model/checkpoint/container", "model/kernels/stored_block.h",
                                "model/nn/plan"},
    "model/kernels": {"base/little_endian.h", "model", "model/config/activation.h",
                      "model/experts"},
    "model/nn": {"base", "model", "model/config", "model/experts", "model/checkpoint",
                 "model/kernels/stored_block.h",
                 "model/tokenizer",
                 "model/nn/plan", "model/nn/step", "model/nn/cpu", "model/nn/cuda"},
    "model/nn/plan": {"base", "model", "model/config", "model/experts"},
    "model/nn/step": {"model", "model/experts", "model/kernels/philox.h"},
    "model/nn/cpu": {"base", "model", "model/config", "model/experts", "model/kernels",
                     "model/checkpoint", "model/nn", "model/nn/plan", "model/nn/step"},
    "model/nn/cuda": {"base", "model", "model/config", "model/experts", "model/kernels",
                      "model/checkpoint", "model/nn", "model/nn/plan", "model/nn/step"},
    "model/transform": {"base", "base/command_line", "model", "model/config", "model/tokenizer", "model/kernels",
                        "model/checkpoint", "model/checkpoint/config", "model/checkpoint/container",
                        "model/checkpoint/layout", "model/transform/convert",
                        "model/transform/inspect", "model/transform/upcycle", "model/nn",
                        "model/nn/plan"},
    "train": {"base", "base/command_line", "train/config", "train/training"},
    "train/config": {"base", "base/command_line/nearest_name.h", "model", "model/checkpoint/container",
                     "model/transform/convert/name_pattern.h"},
    "train/data": {"base", "model", "model/checkpoint/container", "model/kernels/philox.h",
                   "model/tokenizer"},
    "train/network": {"model", "model/config", "model/experts", "model/kernels/rotary.h",
                      "model/nn/plan", "train/config", "train/ops/gradient_ledger.h",
                      "train/ops/operators.h", "train/ops/row_optimizer.h"},
    "train/training": {"base", "model", "model/checkpoint", "model/checkpoint/config",
                       "model/checkpoint/container", "model/config", "model/experts", "model/nn",
                       "model/nn/plan", "model/tokenizer", "model/transform",
                       "model/transform/upcycle/random_values.h", "train/config", "train/data",
                       "train/network/learning_model.h"},
    "train/kernels": {"model/config/activation.h", "model/kernels"},
    "train/ops": {"model/config/activation.h", "train/kernels"},
    # It stands for libraries that know nothing of us.
    "tests/cuda/standin": set(),
    "tests/cuda/standin/runtime_test": {"tests/cuda/support"},
}

# Libraries that stay behind one door: headers, and the folders (or file names) that may see them.
DOORS = {
    "LibTorch": (r"(ATen|c10|torch)/.*", ["train/network", "train/ops", "tests/oracle"]),
    "gRPC or protobuf": (r"(grpc|grpcpp|google/(protobuf|rpc))/.*|.*\.pb\.h",
                         ["server/rpc", "client", "tests/unit/rpc", "tests/unit/client",
                          "tests/integration", "tests/support", "tests/fuzz", "bench"]),
    "prometheus-cpp": (r"prometheus/.*", ["server/metrics", "tests/unit/server"]),
    "cpp-httplib": (r"httplib\.h", ["server/http", "tests/unit/server", "tests/integration"]),
    "libevent": (r"event2/.*", ["server/door"]),
    "spdlog": (r"spdlog/.*", ["server/log"]),
    "CUDA": (r"(cuda|cublas|nccl|cub/).*",
             ["*_cuda.*", "model/nn/cuda", "tests/cuda", "bench/kernels/cuda_*"]),
    "the stand-in for CUDA": (r"tests/cuda/standin/.*", ["tests/cuda"]),
    "Highway": (r"hwy/.*", ["model/kernels", "train/kernels", "tests/unit/kernels", "bench"]),
    "libpng": (r"png\.h", ["model/experts", "tests/unit/experts"]),
    "FreeType": (r"(ft2build|freetype/.*)\.h", ["model/experts"]),
    "PCRE2": (r"pcre2\.h", ["model/tokenizer"]),
    "CLI11": (r"CLI/.*", ["base/command_line", "tests/unit/base", "server", "client", "bench", "model/transform/commands",
                                "model/transform/main.*", "train/main.*"]),
    "toml++": (r"toml\+\+/.*", ["train/config"]),
}

# What the Python client may import beside Python's own library, and what only some of it may: who
# installs the client has the former only.
PYTHON_CLIENT = "client/python/peerage"
PYTHON_MAY_IMPORT = {"google", "grpc", "numpy", "peerage"}
PYTHON_DOORS = {"lm_eval": [f"{PYTHON_CLIENT}/lm_eval"],
                "tqdm": [f"{PYTHON_CLIENT}/lm_eval", f"{PYTHON_CLIENT}/batch*"]}

OUR_FOLDERS = ("base", "client", "server", "model", "train", "tests", "bench", "tools")
SOURCES = {".h", ".cc", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)


def read_includes(root):
    """Every source of ours and what it includes, by path from the root."""
    files = {}
    for folder in OUR_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SOURCES:
                text = path.read_text(encoding="utf-8")
                files[path.relative_to(root).as_posix()] = INCLUDE.findall(text)
    return files


def layer_of(path):
    folders = [f for f in MAY_INCLUDE if f"{path}/".startswith(f + "/")]
    return max(folders, key=len, default=None)


def may_include(layer, target):
    folder = target.rpartition("/")[0]
    allowed = MAY_INCLUDE[layer] | {layer}
    return target in allowed or folder in allowed or layer_of(target) == layer


def behind_door(path, places):
    match = pathlib.PurePath(path).match
    return any(path.startswith(p + "/") or ("*" in p and match(p)) for p in places)


def check_layers(files):
    for path, includes in files.items():
        layer = layer_of(path)
        for target in includes:
            ours = target.split("/")[0] in OUR_FOLDERS
            if ours and target not in files and not target.endswith("/foreach_target.h"):
                yield f"{path}: includes {target}, which does not exist"
            elif layer and (ours or target.startswith("peerage/")) and not may_include(layer, target):
                yield f"{path}: {layer} may not include {target}"


def check_doors(files):
    for path, includes in files.items():
        for target in includes:
            for library, (pattern, places) in DOORS.items():
                if re.fullmatch(pattern, target) and not behind_door(path, places):
                    yield f"{path}: {library} ({target}) is only for {', '.join(places)}"


def reach(path, files, seen):
    """Every header that a file sees through our own headers."""
    for target in files.get(path, ()):
        if target not in seen:
            seen.add(target)
            reach(target, files, seen)
    return seen


def check_torch_meets_protobuf(files):
    """LibTorch carries headers of another protobuf: no file may see both."""
    for path in files:
        seen = reach(path, files, set())
        torch, grpc = (any(re.fullmatch(DOORS[d][0], s) for s in seen)
                       for d in ("LibTorch", "gRPC or protobuf"))
        if torch and grpc:
            yield f"{path}: sees both LibTorch and protobuf headers"


def imported_by(path):
    """The top-level packages that a Python file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0] if node.level == 0 else "peerage"


def check_python_client(root):
    for source in sorted((root / PYTHON_CLIENT).rglob("*.py")):
        path = source.relative_to(root).as_posix()
        for package in imported_by(source):
            places = PYTHON_DOORS.get(package, [])
            if package in PYTHON_MAY_IMPORT or package in sys.stdlib_module_names:
                continue
            if not behind_door(path, places):
                yield f"{path}: {package} is only for {', '.join(places) or 'others'}"


def violations(root):
    files = read_includes(root)
    return [*check_layers(files), *check_doors(files), *check_torch_meets_protobuf(files),
            *check_python_client(root)]


def main():
    found = violations(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    for line in found:
        print(line)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
