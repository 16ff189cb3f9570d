"""The image of the Dockerfile: what is in it, and that it serves with no rights and drains."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from container import BUILD_SECONDS, IMAGE_TOOL, ROOT, Container, bind, files_of, inspect, root_of, run
from server_process import LIMIT_SECONDS, MODEL

MODEL_PATH = pathlib.Path(MODEL).resolve()
MOST_BYTES = 150_000_000  # beyond Debian's base
STREAM = ["generate", "Once upon a time", "--max-tokens", "800", "--ignore-eos", "--temperature", "0"]
OURS = re.compile(r"/usr/(bin/peerage(-server|-model)?$|share/(peerage|doc)/|share/bash-completion/completions/peerage$|lib/systemd/system/peerage.service$)")
LIBRARY = re.compile(r"/usr/lib/x86_64-linux-gnu/([\w-]+/)?[\w.+-]+\.so[.\d]*$")
THEIRS = re.compile(r"/usr/share/(doc-base/libpng|grpc/roots.pem|lintian/overrides/lib)")  # libraries' packages'
PACKAGES = re.compile(r"/(var/lib/(dpkg|apt)|etc/ld.so.cache|var/cache)")
TOOLS = re.compile(r"/(python|perl|gcc|g\+\+|cc1|ld|make|cmake|curl)[\d.-]*$|\.(a|h|py|debug)$")


class ImageTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.saved = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        image = run(IMAGE_TOOL, "save", cls.saved, limit=BUILD_SECONDS).splitlines()[0]
        cls.config = inspect(image)
        cls.root = cls.enterClassContext(root_of(image))
        cls.files = files_of(cls.root)
        with root_of(run(IMAGE_TOOL, "base").strip()) as base:
            cls.base_files = files_of(base)
        cls.added = cls.files.keys() - cls.base_files.keys()

    def start(self):
        """The image as its configuration says, with the model at /models."""
        environment = [*self.config["Env"], f"PEERAGE_MODEL=/models/{MODEL_PATH.name}"]
        return Container(self.root, self.config["Entrypoint"], user=int(self.config["User"].split(":")[0]),
                         environment=environment, mounts=[bind(MODEL_PATH.parent, "/models")])

    def test_says_what_it_is(self):
        labels = {name.removeprefix("org.opencontainers.image."): value
                  for name, value in self.config["Labels"].items()}
        version = run(self.root / "usr/bin/peerage-server", "--version").split()[1]
        self.assertEqual(labels["version"], version)
        self.assertEqual(labels["revision"], run("git", "rev-parse", "HEAD", cwd=ROOT).strip())
        self.assertEqual((labels["title"], labels["licenses"]), ("Peerage", "Apache-2.0"))
        self.assertTrue({"description", "source"} <= labels.keys())
        self.assertRegex(self.config["User"], r"^[1-9]\d*:[1-9]\d*$")
        self.assertEqual(self.config["StopSignal"], "SIGTERM")
        self.assertEqual(self.config["Healthcheck"]["Test"], ["CMD", "peerage", "health", "--quiet"])
        self.assertEqual(set(self.config["ExposedPorts"]), {"50051/tcp", "9091/tcp"})
        self.assertNotIn("LISTEN", "".join(self.config["Env"]))

    def test_holds_the_programs_and_their_libraries_and_nothing_else(self):
        self.assertIn("Apache License", (self.root / "usr/share/doc/peerage/copyright").read_text())
        known = (OURS, LIBRARY, THEIRS, PACKAGES)
        others = {path for path in self.added if not any(kind.match(path) for kind in known)}
        self.assertEqual({path for path in others if self.files[path]}, set())
        self.assertEqual([path for path in self.added if TOOLS.search(path)], [])
        self.assertEqual([path for path in self.files if re.search(r"/bin/(python|gcc|g\+\+|cc$|as$|ld$)", path)], [])
        self.assertEqual(run("chroot", self.root, "apt-get", "--simulate", "autoremove").count("Remv"), 0)

    def test_is_an_archive_for_docker_load(self):
        (archive,) = self.saved.glob("*.tar")
        (manifest,) = json.loads(run("tar", "-xOf", archive, "manifest.json"))
        version = self.config["Labels"]["org.opencontainers.image.version"]
        self.assertIn(f"docker.io/library/peerage:{version}-cpu", manifest["RepoTags"])
        self.assertLessEqual({manifest["Config"], *manifest["Layers"]}, set(run("tar", "-tf", archive).split()))

    def test_is_small(self):
        size, base = sum(self.files.values()), sum(self.base_files.values())
        print(f"image {size / 1e6:.1f} MB, of which Debian's base {base / 1e6:.1f} MB")
        self.assertLess(size - base, MOST_BYTES)
        self.assertGreater(size - base, 10_000_000)  # the libraries were counted

    def test_serves_with_no_rights(self):
        with self.start() as container:
            self.assertRegex(container.ready_line, "^peerage-server ready ")
            status = container.status()
            self.assertEqual(set(status["Uid"].split()), {self.config["User"].split(":")[0]})
            self.assertEqual(int(status["CapBnd"], 16), 0)
            self.assertEqual(status["NoNewPrivs"], "1")
            container.exec(*self.config["Healthcheck"]["Test"][1:])
            text = container.exec("peerage", "generate", "The capital of France is", "--max-tokens", "4",
                                  "--temperature", "0")
            self.assertIn("Paris", text)
            self.assertRegex(container.get("/metrics"), r'peerage_requests_total\{[^}]*code="OK"[^}]*\} 1\n')
            self.assertIn("<title>", container.get("/experts"))

    def test_drains_when_it_is_told_to_stop(self):
        with self.start() as container:
            whole = run(*container.client(*STREAM))
            stream = subprocess.Popen(container.client(*STREAM), stdout=subprocess.PIPE, text=True)
            begin = stream.stdout.read(1)  # it runs
            container.terminate()
            self.assertIsNone(stream.poll())  # it still runs
            rest, _ = stream.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual(stream.returncode, 0)
            self.assertEqual(begin + rest, whole)
            self.assertEqual(container.wait(), 0)

    def test_comes_with_an_sbom_of_all_its_packages(self):
        (path,) = self.saved.glob("*.spdx.json")
        sbom = json.loads(path.read_text())
        self.assertRegex(sbom["spdxVersion"], r"^SPDX-2\.")
        named = {package["name"] for package in sbom["packages"]}
        installed = run("chroot", self.root, "dpkg-query", "-W", "-f", "${Package}\n").split()
        self.assertIn("peerage", installed)
        self.assertEqual(set(installed) - named, set())


class OtherDeviceTest(unittest.TestCase):

    def test_says_at_once_why_it_cannot_be_built(self):
        for device, why in (("cuda", "no nvcc 13.0"), ("tpu", "DEVICE=tpu: these sources have no build")):
            built = subprocess.run([IMAGE_TOOL, "build"], env={**os.environ, "DEVICE": device},
                                   capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
            self.assertEqual(built.returncode, 1)
            self.assertIn(why, built.stderr)


if __name__ == "__main__":
    unittest.main()
