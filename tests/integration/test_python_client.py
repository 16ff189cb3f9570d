"""The Python client as its users get it: a wheel in a clean environment, against real servers.

What the client must do is in client/python/tests, which runs here with the wheel's code, not the
repository's. lm-eval and what builds and checks come from build/deps/python-client-venv.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

from server_process import LIMIT_SECONDS, Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "client" / "python"
TESTS = PACKAGE / "tests"
TOOLS = ROOT / "build/deps/python-client-venv/bin/python"
WHEELS = ROOT / "build/deps/python-client-wheels"
MODELS = ROOT / "tests/golden/models"


def run(*command, **options):
    """Output of a command that must succeed."""
    finished = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False,
                              timeout=4 * LIMIT_SECONDS, **options)
    if finished.returncode != 0:
        said = (finished.stdout + finished.stderr)[-6000:]
        raise AssertionError(f"{' '.join(map(str, command))} failed:\n{said}")
    return finished.stdout


def copy_sources(folder):
    """What the package is built of, where a build may leave its files."""
    shutil.copytree(PACKAGE, folder / "client/python", symlinks=True,
                    ignore=shutil.ignore_patterns("tests", "v1", "build", "dist", "*.egg-info"))
    shutil.copytree(ROOT / "proto", folder / "proto")
    for name in ("LICENSE", "CMakeLists.txt"):
        shutil.copy(ROOT / name, folder)
    return folder / "client/python"


def model_that_adds_a_bos(folder):
    """Mixtures of two kinds in one layer, behind a tokenizer whose post-processor adds a BOS."""
    shutil.copytree(MODELS / "mixture_bam_layers", folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    bos = next(token["content"] for token in tokenizer["added_tokens"] if token["id"] == 1)
    begin = {"SpecialToken": {"id": bos, "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing", "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}},
                 {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {bos: {"id": bos, "ids": [1], "tokens": [bos]}}}
    path.write_text(json.dumps(tokenizer))
    return folder


def version(text):
    return tuple(map(int, re.findall(r"\d+", text)))


class PythonClientTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        if not TOOLS.exists() or not WHEELS.exists():
            raise AssertionError(f"{TOOLS} is not here: run tools/setup.sh image")
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        sources = copy_sources(cls.folder / "sources")
        run(TOOLS, "-m", "build", "--no-isolation", "--outdir", cls.folder / "dist", sources)
        (cls.wheel,) = (cls.folder / "dist").glob("*.whl")
        run(TOOLS, "-m", "build", "--no-isolation", "--wheel", "--outdir", cls.folder / "direct",
            sources)
        cls.install()
        cls.peer = cls.enterClassContext(
            Server("--expert-trace", "full", model=MODELS / "peer_small"))
        cls.mixture = cls.enterClassContext(
            Server(model=model_that_adds_a_bos(cls.folder / "with_bos")))
        cls.english = cls.enterClassContext(Server())

    @classmethod
    def install(cls):
        """Into a clean environment with what the wheel asks for, from PyPI's wheels alone; and
        beside lm-eval, without its dependencies."""
        run("/usr/bin/python3", "-m", "venv", "--without-pip", cls.folder / "clean")
        cls.clean = cls.folder / "clean/bin/python"
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check",
               "--no-input")
        run(*pip, "--python", cls.clean, "install", "--no-index", "--find-links", WHEELS, cls.wheel)
        run(*pip, "install", "--no-index", "--no-deps", "--target", cls.folder / "beside",
            cls.wheel)

    def environment(self):
        return {"PEERAGE_PEER": self.peer.grpc, "PEERAGE_MIXTURE": self.mixture.grpc,
                "PEERAGE_ENGLISH": self.english.grpc}

    def lm_eval_environment(self):
        return self.environment() | {
            "PYTHONPATH": str(self.folder / "beside"), "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TQDM_DISABLE": "1",
            "LMEVAL_LOG_LEVEL": "ERROR"}

    def run_tests(self, python, environment, name):
        run(python, "-m", "unittest", name, cwd=TESTS, env=environment | {
            "PYTHONDONTWRITEBYTECODE": "1", "GRPC_VERBOSITY": "ERROR"})

    def test_the_wheel_holds_stubs_types_and_the_licence(self):
        with zipfile.ZipFile(self.wheel) as wheel:
            names = set(wheel.namelist())
            stub = wheel.read("peerage/v1/inference_pb2.py").decode()
            service = wheel.read("peerage/v1/inference_pb2_grpc.py").decode()
            (metadata,) = (wheel.read(n).decode() for n in names if n.endswith("/METADATA"))
        for proto in (ROOT / "proto/peerage/v1").glob("*.proto"):
            for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
                self.assertIn(f"peerage/v1/{proto.stem}{end}", names)
        self.assertIn("peerage/py.typed", names)
        self.assertTrue(any(name.endswith("licenses/LICENSE") for name in names))
        self.assertEqual([name for name in names if "test" in name], [])
        # What the generated code needs is what the wheel asks for.
        asked = dict(re.findall(r"^Requires-Dist: (\w+)\S*>=([\d.]+)", metadata, re.MULTILINE))
        generated = re.search(r"Protobuf Python Version: (\S+)", stub).group(1)
        self.assertGreaterEqual(version(asked["protobuf"]), version(generated))
        needed = re.search(r"GRPC_GENERATED_VERSION = '(\S+)'", service).group(1)
        self.assertGreaterEqual(version(asked["grpcio"]), version(needed))

    def test_the_wheel_of_the_source_distribution_is_that_of_the_repository(self):
        (direct,) = (self.folder / "direct").glob("*.whl")
        with zipfile.ZipFile(self.wheel) as ours, zipfile.ZipFile(direct) as theirs:
            self.assertEqual(set(ours.namelist()), set(theirs.namelist()))
            for name in ours.namelist():
                self.assertEqual(ours.read(name), theirs.read(name), name)

    def test_the_version_is_the_servers(self):
        ours = run(self.clean, "-c", "import peerage; print(peerage.__version__)").strip()
        status = json.loads(self.peer.run("status", "--json").stdout)
        self.assertEqual(ours, status["version"])

    def test_messages(self):
        self.run_tests(self.clean, {}, "test_messages")

    def test_identity(self):
        self.run_tests(self.clean, {}, "test_identity")

    def test_retries(self):
        self.run_tests(self.clean, {}, "test_retry")

    def test_both_clients_on_real_servers(self):
        self.run_tests(self.clean, self.environment(), "test_server")

    def test_lm_evaluation_harness(self):
        self.run_tests(TOOLS, self.lm_eval_environment(), "test_lm_eval")

    def test_the_harness_command_knows_the_model(self):
        """The command of the README, with a task that needs no network."""
        readme = (PACKAGE / "README.md").read_text()
        command = re.search(r"^python (-m peerage\.lm_eval .*)$", readme, re.MULTILINE).group(1)
        words = command.replace("localhost:50051", self.english.grpc).split()
        words[words.index("hellaswag")] = "local_facts"
        table = run(TOOLS, *words, "--limit", "4", "--include_path", TESTS / "lm_eval_tasks",
                    cwd=self.folder, env=self.lm_eval_environment())
        self.assertRegex(table, r"\|local_facts\s*\|")

    def test_the_examples_of_the_readmes_run(self):
        texts = [(folder / "README.md").read_text() for folder in (PACKAGE, ROOT)]
        blocks = [block for text in texts for block
                  in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
                  if "from peerage import" in block]
        self.assertGreaterEqual(len(blocks), 6)
        said = ""
        for block in blocks:
            server = self.peer if "expert_trace" in block else self.english
            self.assertIn("localhost:50051", block)
            said += run(self.clean, "-c", block.replace("localhost:50051", server.grpc), env={})
        self.assertIn("sampling.top_p must be in (0, 1]", said)
        self.assertIn("(8, 2, 16)", said)  # five tokens of the prompt, three fed back

    def test_types_are_strict(self):
        shutil.copytree(self.folder / "beside/peerage", self.folder / "typed/peerage")
        run(TOOLS, "-m", "mypy", "--config-file", PACKAGE / "pyproject.toml",
            "--cache-dir", self.folder / "mypy", "-p", "peerage", cwd=self.folder / "typed")


if __name__ == "__main__":
    unittest.main()
