"""The steps of gpu_check.py: each gives what it found, or raises NotRun or Failed."""

import concurrent.futures
import importlib.util
import json
import os
import pathlib
import re
import shutil
import sys

from machine import Failed, NotRun

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

TESTS = r"\w+_cuda_test|cuda_\w+_test"
KERNEL_TESTS = r"(?!golden_models)\w+_cuda_test"
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
MODELS = {"PEER": "peer_small", "mixture": "mixture_bam_layers", "dense": "llama_untied"}
PROMPTS = ("The", "Once upon a time", "0 1 2 3", "def f(x):", "A B A B A")
KINDS = ("peer", "mixture", "dense")
BATCHES = (1, 16, 64, 256)

TINY_KERNELS = ("--width 64 --log2-experts 8 --heads 2 --top-k 4 --key-dim 32 --attention-heads 4 "
                "--kv-heads 2 --head-dim 32 --context 64 --vocabulary 512 --rows 1,3 --repetitions 1 "
                "--cold-mib 1").split()
TINY_MODEL = ("--width 64 --layers 2 --log2-experts 6 --vocabulary 256 --prefill 20 --decode 1 "
              "--streams 1 --repetitions 1 --kv-cache-mib 1 --batches 1,2 --batch-context 4").split()
REAL_MODEL = ("--prefill 2048 --decode 32 --streams 1 --repetitions 2 --kv-cache-mib 8192 "
              "--batch-context 512").split() + ["--batches", ",".join(map(str, BATCHES))]


def all_steps(host):
    """Name and function of each, the most telling first: later ones may find no time left."""
    yield "tests from machine code", lambda: tests(host, {})
    yield "kernels", lambda: kernels(host)
    yield "models", lambda: models(host)
    yield "answers", lambda: answers(host)
    yield "tests from PTX", lambda: tests(host, {"CUDA_FORCE_PTX_JIT": "1"})
    yield "PyTorch", lambda: pytorch(host)
    for tool in SANITIZERS:
        yield f"compute-sanitizer {tool}", lambda tool=tool: sanitizer(host, tool)


def count_cases(output):
    """Passed and skipped cases of a GoogleTest program that ended well."""
    passed = re.search(r"^\[  PASSED  \] (\d+) test", output, re.MULTILINE)
    skipped = re.search(r"^\[  SKIPPED \] (\d+) test", output, re.MULTILINE)
    return {"passed": int(passed[1]) if passed else 0, "skipped": int(skipped[1]) if skipped else 0}


def tests(host, environment):
    # One is enough to rehearse: CTest runs all of them on the stand-in.
    names = "gated_activation_cuda_test" if host.rehearse else TESTS
    found = host.tests(names)
    programs, left_out = [], {}
    for name in found:
        try:
            programs.append(host.program(name))
        except NotRun as why:
            left_out[name] = str(why)
    # References in double, on the CPU, take longer than the GPU: several programs at a time.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(host.run, [program, "--gtest_brief=0"], 240, **environment)
                for program in programs]
    cases, failures = {}, []
    for program, run in zip(programs, runs):
        name = pathlib.Path(program).name
        try:
            cases[name] = count_cases(run.result())
        except NotRun as why:
            left_out[name] = str(why)
        except Failed as why:
            failures.append(f"{name}: {why}")
    if failures:
        raise Failed("\n".join(failures))
    if not any(case["passed"] for case in cases.values()):
        raise NotRun("; ".join(sorted(set(left_out.values()))) or "no case ran")
    return {"cases": cases, "not_run": left_out}


def kernels(host):
    options = TINY_KERNELS if host.rehearse else []
    program = host.program("cuda_kernels_bench")
    return json.loads(host.run([program, *options], 90))


def models(host):
    program = host.program("model_bench")
    found = {}
    for kind in KINDS:
        options = TINY_MODEL if host.rehearse else REAL_MODEL
        found[kind] = json.loads(host.run([program, "--random", kind, "--device", "cuda:0", *options],
                                          120))
    return {"models": found}


def prompts(host):
    return PROMPTS[:2] if host.rehearse else PROMPTS


def answer(host, model, *options):
    """What a server says to each prompt, greedily."""
    from server_process import Server
    peerage = host.program("peerage")
    bin_folder = pathlib.Path(host.program("peerage-server")).parent
    try:
        with Server(*options, model=ROOT / "tests/golden/models" / model, bin=bin_folder,
                    environment=host.environment()) as server:
            return [host.run([peerage, *server.command("generate", "--temperature", "0", "--seed", "1",
                                                       "--max-tokens", "24", prompt)[1:]], 60)
                    for prompt in prompts(host)]
    except AssertionError as error:
        raise Failed(str(error)) from error


def answers(host):
    """With f32 activations every answer is the CPU's. With bf16, as it ships, a greedy choice between
    near equals may turn out differently: how many are the CPU's is a figure."""
    host.program("peerage-server")
    found, failures = {}, []
    for kind, model in MODELS.items():
        expected = answer(host, model, "--device", "cpu")
        exact = answer(host, model, "--device", "cuda:0", "--activation-dtype", "f32", "--kv-dtype", "f32")
        shipped = answer(host, model, "--device", "cuda:0")
        if not all(text.strip() for text in expected):
            failures.append(f"{kind}: an answer is empty")
        if exact != expected:
            failures.append(f"{kind}: the CPU says {expected}, cuda:0 in f32 {exact}")
        found[kind] = {"model": model, "prompts": len(expected),
                       "equal_f32": sum(a == b for a, b in zip(exact, expected)),
                       "equal_bf16": sum(a == b for a, b in zip(shipped, expected))}
    if failures:
        raise Failed("\n".join(failures))
    return {"answers": found}


def pytorch(host):
    if importlib.util.find_spec("torch") is None:
        raise NotRun("no PyTorch is here")
    script = str(ROOT / "bench/peers/cuda_layers.py")
    options = ["--device", "cpu", "--tiny"] if host.rehearse else []
    return json.loads(host.run([sys.executable, script, *options], 150, HOME=os.environ.get("HOME", "/tmp")))


def sanitizer(host, tool):
    if host.rehearse:
        raise NotRun("the stand-in checks by itself")
    program = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer")
    if program is None:
        raise NotRun("no compute-sanitizer is here")
    checked, left_out = [], {}
    for name in host.tests(KERNEL_TESTS):
        try:
            host.run([program, "--tool", tool, "--error-exitcode", "9",
                      host.program(name)], 60)
            checked.append(name)
        except NotRun as why:
            left_out[name] = str(why)
    if not checked:
        raise NotRun("; ".join(sorted(set(left_out.values()))))
    return {"checked": checked, "not_run": left_out}
