"""The steps of gpu_check.py: each gives what it found, or raises NotRun or Failed."""

import concurrent.futures
import importlib.util
import json
import os
import pathlib
import re
import shutil
import sys

from machine import Failed, NotRun, OutOfTime

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

TESTS = r"\w+"
KERNEL_TESTS = r"(?!golden_models)\w+_cuda_test"
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
MODELS = {"PEER": "peer_small", "mixture": "mixture_bam_layers", "dense": "llama_untied"}
PROMPTS = ("The", "Once upon a time", "0 1 2 3", "def f(x):", "A B A B A")
KINDS = ("peer", "mixture", "dense")
BATCHES = (1, 16, 64, 256)

TINY_KERNELS = ("--width 64 --log2-experts 8 --heads 2 --top-k 4 --key-dim 32 --attention-heads 4 "
                "--kv-heads 2 --head-dim 32 --context 64 --vocabulary 512 --mixture 3 --rows 1,3 "
                "--repetitions 1 --cold-mib 1").split()
TINY_MODEL = ("--width 64 --layers 2 --log2-experts 6 --vocabulary 256 --prefill 20 --decode 1 "
              "--streams 1 --repetitions 1 --kv-cache-mib 1 --batches 1,2 --batch-context 4").split()
REAL_MODEL = ("--prefill 2048 --decode 32 --streams 1 --repetitions 2 --kv-cache-mib 8192 "
              "--batch-context 512").split() + ["--batches", ",".join(map(str, BATCHES))]


def all_steps(host):
    """Name, share of the time, and function of each, the most telling first. What one leaves of its share
    those behind it have, too; none takes theirs."""
    yield "answers", 0.12, lambda: answers(host)
    yield "tests from machine code", 0.22, lambda: tests(host, TESTS, {})
    yield "kernels", 0.08, lambda: kernels(host)
    yield "models", 0.22, lambda: models(host)
    yield "PyTorch", 0.12, lambda: pytorch(host)
    # Of kernels alone: the driver would compile all of cuBLASLt, too, which programs with models use.
    yield "tests from PTX", 0.10, lambda: tests(host, KERNEL_TESTS, {"CUDA_FORCE_PTX_JIT": "1"})
    for tool in SANITIZERS:
        yield f"compute-sanitizer {tool}", 0.035, lambda tool=tool: sanitizer(host, tool)


def run_all(host, steps):
    """Name and outcome of each step. `steps` as all_steps gives them."""
    end = 0
    for name, share, step in steps:
        end += share * host.seconds
        print(f"== {name} (at {host.elapsed():.0f} s)", flush=True)
        yield name, host.guarded(step, end)


def parts(key, names, work):
    """What `work` finds of each, one by one: what cannot be run, or fails, loses nothing of the others."""
    found, not_run, failures = {}, {}, []
    for name in names:
        try:
            found[name] = work(name)
        except NotRun as why:
            not_run[name] = str(why)
        except Failed as why:
            failures.append(f"{name}: {why}")
    result = {key: found, "not_run": not_run}
    if failures:
        raise Failed("\n".join(failures), result)
    if not found:
        raise NotRun("; ".join(sorted(set(not_run.values()))))
    return result


def fair(host, names):
    """By name, what tells a turn's seconds: those behind it have as much."""
    return {name: lambda behind=len(names) - i: host.left() / behind for i, name in enumerate(names)}


def count_cases(output):
    """Passed and skipped cases of a GoogleTest program that ended well."""
    passed = re.search(r"^\[  PASSED  \] (\d+) test", output, re.MULTILINE)
    skipped = re.search(r"^\[  SKIPPED \] (\d+) test", output, re.MULTILINE)
    return {"passed": int(passed[1]) if passed else 0, "skipped": int(skipped[1]) if skipped else 0}


def tests(host, names, environment):
    # One is enough to rehearse: CTest runs all of them on the stand-in.
    names = host.tests("gated_activation_cuda_test" if host.rehearse else names)

    def run(name):
        return host.run([host.program(name), "--gtest_brief=0"], hangs_after=90,
                        environment=host.environment(**environment))
    # References in double, on the CPU, take longer than the GPU: several programs at a time.
    with concurrent.futures.ThreadPoolExecutor(max(4, os.cpu_count() // 2)) as pool:
        runs = {name: pool.submit(run, name) for name in names}
    result = parts("cases", names, lambda name: count_cases(runs[name].result()))
    if not any(case["passed"] for case in result["cases"].values()):
        raise NotRun("no case ran")
    return result


def kernels(host):
    options = TINY_KERNELS if host.rehearse else []
    return json.loads(host.run([host.program("cuda_kernels_bench"), *options]))


def models(host):
    program = host.program("model_bench")
    options = TINY_MODEL if host.rehearse else REAL_MODEL
    seconds = fair(host, KINDS)

    def measure(kind):
        command = [program, "--random", kind, "--device", "cuda:0", *options]
        return json.loads(host.run(command, at_most=seconds[kind]()))
    return parts("models", KINDS, measure)


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
                                                       "--max-tokens", "24", prompt)[1:]], hangs_after=60)
                    for prompt in prompts(host)]
    except AssertionError as error:
        raise Failed(str(error)) from error


def answers(host):
    """With f32 activations every answer is the CPU's. With bf16, as it ships, a greedy choice between
    near equals may turn out differently: how many are the CPU's is a figure."""
    host.program("peerage-server")

    def compare(kind):
        model = MODELS[kind]
        expected = answer(host, model, "--device", "cpu")
        exact = answer(host, model, "--device", "cuda:0", "--activation-dtype", "f32", "--kv-dtype", "f32")
        shipped = answer(host, model, "--device", "cuda:0")
        if not all(text.strip() for text in expected):
            raise Failed("an answer is empty")
        if exact != expected:
            raise Failed(f"the CPU says {expected}, cuda:0 in f32 {exact}")
        return {"model": model, "prompts": len(expected), "equal_f32": len(exact),
                "equal_bf16": sum(a == b for a, b in zip(shipped, expected))}
    return parts("answers", MODELS, compare)


def rows_of(output):
    """The lines of JSON that are whole: the last one may have been cut off."""
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith("\n")]


def pytorch(host):
    """Each layer's line as soon as it is there: what is measured is kept however the program ends."""
    if importlib.util.find_spec("torch") is None:
        raise NotRun("no PyTorch is here")
    options = ["--device", "cpu", "--tiny"] if host.rehearse else []
    command = [sys.executable, str(ROOT / "bench/peers/cuda_layers.py"), *options]
    not_run = {}
    try:
        output = host.run(command, environment=host.callers_environment())
    except OutOfTime as why:
        output, not_run = why.output, {"the rest": str(why)}
    except Failed as why:
        why.found = {"layers": rows_of(why.output)[1:]}
        raise
    about, *layers = rows_of(output) or [{}]
    if not layers:
        raise NotRun("; ".join(not_run.values()) or "no layer was measured")
    return {**about, "layers": layers, "not_run": not_run}


def sanitizer(host, tool):
    if host.rehearse:
        raise NotRun("the stand-in checks by itself")
    program = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer")
    if program is None:
        raise NotRun("no compute-sanitizer is here")
    names = host.tests(KERNEL_TESTS)
    seconds = fair(host, names)

    def check(name):
        command = [program, "--tool", tool, "--error-exitcode", "9", host.program(name)]
        try:
            return count_cases(host.run(command, at_most=seconds[name]()))
        except Failed as why:
            if "Device not supported" in str(why):
                raise NotRun("compute-sanitizer does not know this device") from why
            raise
        except OutOfTime as why:
            raise NotRun(f"left out: {why}") from why
    return parts("cases", names, check)
