#!/usr/bin/env python3
"""Plants violations and sees each one caught."""

import pathlib
import tempfile
import unittest

import check_layering

CLEAN = {
    "model/token.h": "",
    "model/kernels/norm.h": "",
    "model/kernels/norm_cuda.h": "#include <cuda_runtime_api.h>\n",
    "model/nn/cpu/norm_layer.h": '#include "model/kernels/norm.h"\n',
    "model/nn/cuda/norm_layer.h": '#include <cublasLt.h>\n#include "model/kernels/norm_cuda.h"\n',
    "model/nn/load.cc": '#include "model/nn/cpu/norm_layer.h"\n'
                        '#include "model/nn/cuda/norm_layer.h"\n',
    "tests/cuda/standin/stream.h": "#include <cuda_runtime_api.h>\n",
    "tests/oracle/tensors.h": "#include <ATen/core/Tensor.h>\n",
    "server/engine/engine.h": '#include "model/token.h"\n',
    "server/rpc/call.h": '#include <grpcpp/server.h>\n#include "server/engine/engine.h"\n',
    "server/app.cc": '#include "server/rpc/call.h"\n',
    "client/python/peerage/batch.py": "import json\n\nimport numpy.typing\nfrom grpc import aio\n"
                                      "\n\ndef bar():\n    from tqdm.auto import tqdm\n",
    "client/python/peerage/lm_eval/model.py": "import lm_eval\nfrom peerage.batch import bar\n",
}

PLANTED = {
    "an engine that knows kernels": (
        "server/engine/step.cc", '#include "model/kernels/norm.h"', "server/engine may not include"),
    "a model that knows the server": (
        "model/config.cc", '#include "server/engine/engine.h"', "model may not include"),
    "kernels that know layers": (
        "model/kernels/norm.cc", '#include "model/nn/cpu/norm_layer.h"', "model/kernels may not include"),
    "a plan that knows a device": (
        "model/nn/plan/norm.cc", '#include "model/nn/cpu/norm_layer.h"',
        "model/nn/plan may not include"),
    "a device that knows another": (
        "model/nn/cuda/norm.cc", '#include "model/nn/cpu/norm_layer.h"',
        "model/nn/cuda may not include"),
    "the CPU that knows CUDA": (
        "model/nn/cpu/norm.cc", '#include "model/nn/cuda/norm_layer.h"',
        "model/nn/cpu may not include"),
    "a server that knows CUDA": (
        "server/devices.cc", '#include "model/nn/cuda/norm_layer.h"', "server may not include"),
    "a stand-in that knows what it stands in for": (
        "tests/cuda/standin/launch.cc", '#include "model/kernels/norm_cuda.h"',
        "tests/cuda/standin may not include"),
    "a test of the CPU that knows the stand-in": (
        "tests/unit/nn/norm_test.cc", '#include "tests/cuda/standin/stream.h"',
        "the stand-in for CUDA"),
    "a client that knows the model": (
        "client/main.cc", '#include "model/token.h"', "client may not include model/token.h"),
    "torch outside the oracles": ("model/kernels/sum.cc", "#include <ATen/ops/sum.h>", "LibTorch"),
    "protobuf in the engine": (
        "server/engine/wire.cc", '#include "peerage/v1/inference.pb.h"', "may not include peerage/v1"),
    "gRPC in the engine": ("server/engine/wire.cc", "#include <grpcpp/server.h>", "gRPC"),
    "Prometheus in the engine": ("server/engine/count.cc", "#include <prometheus/counter.h>", "prometheus"),
    "CUDA in an ordinary file": ("model/kernels/sum.cc", "#include <cuda_runtime.h>", "CUDA"),
    "CUDA above the devices": ("model/nn/transformer.cc", "#include <cublasLt.h>", "CUDA"),
    "torch and protobuf in one file": (
        "bench/all.cc", '#include "server/rpc/call.h"\n#include "tests/oracle/tensors.h"', "sees both"),
    "lm-eval outside its folder": (
        "client/python/peerage/client.py", "from lm_eval import utils", "lm_eval is only for"),
    "a bar that everybody must install": (
        "client/python/peerage/client.py", "import tqdm", "tqdm is only for"),
    "torch in the Python client": (
        "client/python/peerage/experts.py", "def f():\n    import torch", "torch is only for others"),
    "an include that is not from the root": (
        "server/rpc/x.cc", '#include "server/call.h"', "does not exist"),
}


class LayeringTest(unittest.TestCase):
    def violations(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check_layering.violations(pathlib.Path(folder))

    def test_a_clean_tree_has_no_violation(self):
        self.assertEqual(self.violations(CLEAN), [])

    def test_a_cuda_file_may_see_cuda(self):
        files = {**CLEAN, "model/kernels/norm_cuda.cu": "#include <cuda_bf16.h>",
                 "tests/cuda/kernels/norm_test.cc": '#include <cuda_runtime_api.h>\n'
                                                    '#include "tests/cuda/standin/stream.h"',
                 "bench/kernels/cuda_kernels_bench.cc": "#include <cuda_runtime_api.h>"}
        self.assertEqual(self.violations(files), [])

    def test_every_planted_violation_is_named(self):
        for what, (path, text, message) in PLANTED.items():
            with self.subTest(what):
                found = self.violations({**CLEAN, path: text})
                self.assertTrue(any(f.startswith(path) and message in f for f in found), found)


if __name__ == "__main__":
    unittest.main()
