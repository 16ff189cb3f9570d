#!/usr/bin/env python3
"""What the pages for readers promise: each is found from the README's top, and the lines for a
client of one's own work as they stand (docs/build_on_it.md)."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from server_process import BIN, LIMIT_SECONDS, Server, run_server_to_its_end

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["serve", "train", "operate", "build_on_it"]
MODEL = ROOT / "tests/golden/models/peer_small"


def blocks(page, language):
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


class DocumentsTest(unittest.TestCase):

    def test_readers_are_sent_to_their_pages_at_the_top(self):
        top = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
        for page in PAGES:
            self.assertIn(f"(docs/{page}.md)", top)

    def test_every_page_is_found_from_the_readme(self):
        reached, todo = set(), ["README.md"]
        while todo:
            path = todo.pop()
            reached.add(path)
            text = (ROOT / path).read_text(encoding="utf-8")
            for target in re.findall(r"\]\(([^)#\s]+\.md)[^)]*\)", text):
                found = os.path.relpath(os.path.join(ROOT, os.path.dirname(path), target), ROOT)
                if "://" not in target and found not in reached:
                    todo.append(found)
        documents = {str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")}
        self.assertEqual(documents - reached, set())

    def test_every_option_of_the_server_is_on_the_page_for_who_serves(self):
        text = run_server_to_its_end("--help").stdout
        known = set(re.findall(r"^ +(?:-\w,)?(--[a-z][\w-]*)", text, re.MULTILINE))
        self.assertGreater(len(known), 20)
        documented = set(re.findall(r"`(--[a-z][\w-]*)", (ROOT / "docs/serve.md").read_text()))
        self.assertEqual(known - documented - {"--help", "--version", "--config"}, set())

    def test_the_page_of_all_options_is_what_the_server_says(self):
        made = subprocess.run([sys.executable, ROOT / "tools/make_configuration.py", BIN / "peerage-server", "--check"],
                              capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        self.assertEqual((made.returncode, made.stderr), (0, ""))

    def test_hidden_states_are_read_by_the_lines_of_the_page(self):
        (write,) = [b for b in blocks("experts", "sh") if "--hidden-states" in b]
        (read,) = [b for b in blocks("experts", "python") if "rows.npy" in b]
        with tempfile.TemporaryDirectory() as folder, Server(model=MODEL) as server:
            where = {"PATH": f"{os.path.abspath(BIN)}:/usr/bin:/bin", "PEERAGE_SERVER": server.grpc}
            subprocess.run(["bash", "-euo", "pipefail", "-c", write], cwd=folder, env=where,
                           check=True, capture_output=True, timeout=LIMIT_SECONDS)
            done = subprocess.run([sys.executable, "-c", read], cwd=folder, check=True,
                                  capture_output=True, text=True, timeout=LIMIT_SECONDS)
            ids = json.loads(server.run("tokenize", "Once upon a time", "--json").stdout)["token_ids"]
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        self.assertEqual([layer for layer, _, _ in lines], ["0", "2", "5"])
        for _, _, rest in lines:
            self.assertTrue(rest.startswith(f"({len(ids) + 7}, 128) "), done.stdout)

    def test_a_client_is_made_by_the_lines_of_the_page(self):
        (make,) = [b for b in blocks("build_on_it", "sh") if "protoc" in b]
        (client,) = blocks("build_on_it", "python")
        made, installed, stubs = make.partition("pip install --quiet grpcio grpcio-tools "
                                                "googleapis-common-protos\n")
        self.assertTrue(made.startswith("python3 -m venv venv\n") and installed, make)
        with tempfile.TemporaryDirectory() as folder, Server(model=MODEL) as server:
            # The packages are those that pip would bring, at the versions that the tests pin.
            os.symlink(sys.prefix, f"{folder}/venv")
            os.symlink(ROOT / "proto", f"{folder}/proto")
            subprocess.run(["bash", "-euo", "pipefail", "-c", stubs], cwd=folder, check=True,
                           timeout=LIMIT_SECONDS)
            done = subprocess.run([f"{folder}/venv/bin/python", "-c", client], cwd=folder,
                                  env={"PYTHONPATH": "stubs", "PEERAGE_SERVER": server.grpc},
                                  capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            command = server.run("generate", "Once upon a time", "--temperature", "0.8", "--seed",
                                 "7", "--max-tokens", "16")
        self.assertGreater(len(done.stdout), 10)
        self.assertTrue(command.stdout.startswith(done.stdout),
                        "the same request by our own client has another answer")


if __name__ == "__main__":
    unittest.main()
