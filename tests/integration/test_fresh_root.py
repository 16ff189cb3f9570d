"""The Debian package in a fresh Debian: installed, served as the unit says, removed without a trace."""

import pathlib
import re
import shutil
import tempfile
import unittest

from container import BUILD_SECONDS, IMAGE_TOOL, ROOT, Container, files_of, root_of, run
from server_process import BIN

MODEL = ROOT / "tests/golden/models/peer_small"
UNIT = "usr/lib/systemd/system/peerage.service"
DYNAMIC_USER = 61184  # the first that systemd takes for DynamicUser=yes
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends"]
# Databases and logs of dpkg, apt and the linker, which grow with any package.
BOOKS = re.compile(r"/(var/(lib/(dpkg|apt)|cache|log)|etc/ld.so.cache|tmp|run)(/|$)")
# Stands for systemd: says what it was asked.
SYSTEMCTL = '#!/bin/sh\necho "$@" >>/run/systemctl.log\n'


class FreshRootTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.base = run(IMAGE_TOOL, "base", limit=BUILD_SECONDS).strip()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        run("cpack", "-B", folder, cwd=BIN.resolve().parent, limit=300)
        cls.package, = pathlib.Path(folder).glob("*.deb")

    def setUp(self):
        self.root = self.enterContext(root_of(self.base))
        for name in ("resolv.conf", "hosts"):  # of this machine: apt asks Debian's mirror
            shutil.copy(f"/etc/{name}", self.root / "etc")
        shutil.rmtree(self.root / "etc/dpkg/dpkg.cfg.d")  # keeps documents out of slim images
        self.inside("apt-get", "update")
        shutil.copy(self.package, self.root / "package.deb")
        # Its dependencies come first, so that what the package itself adds can be seen.
        self.inside(*INSTALL, *self.dependencies())
        (self.root / "run/systemd/system").mkdir(parents=True)
        systemctl = self.root / "usr/bin/systemctl"
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)

    def inside(self, *command):
        environment = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C"}
        return run("chroot", self.root, *command, env=environment, limit=BUILD_SECONDS)

    def dependencies(self):
        field = run("dpkg-deb", "-f", self.package, "Depends")
        return [re.match(r"[\w.+-]+", dependency.strip())[0] for dependency in field.split(",")]

    def files(self):
        return {path for path in files_of(self.root) if not BOOKS.match(path)}

    def asked_of_systemd(self):
        log = self.root / "run/systemctl.log"
        return log.read_text().splitlines() if log.exists() else []

    def serve(self):
        """What systemd would run after the steps of deploy/README.md."""
        settings = self.root / "etc/peerage/peerage.toml"
        settings.parent.mkdir()
        shutil.copy(self.root / "usr/share/peerage/peerage.toml", settings)
        model = self.root / "var/lib/peerage/model"
        shutil.copytree(MODEL, model)
        settings.write_text(settings.read_text().replace("model.gguf", "model"))
        command = re.search("^ExecStart=(.*)$", (self.root / UNIT).read_text(), re.MULTILINE)[1]
        return Container(self.root, command.split(), user=DYNAMIC_USER)

    def test_is_installed_serves_and_is_removed_without_a_trace(self):
        before = self.files()
        self.inside(*INSTALL, "/package.deb")
        self.assertEqual(self.inside("dpkg", "--verify", "peerage"), "")
        self.assertIn("/usr/bin/peerage-server", self.files() - before)

        with self.serve() as server:
            self.assertRegex(server.ready_line, "^peerage-server ready grpc=127.0.0.1:50051 ")
            self.assertIn("SERVING", server.exec("peerage", "health"))
            self.assertTrue(server.exec("peerage", "generate", "In the beginning", "--max-tokens", "8").strip())
            self.assertIn("peerage_build_info", server.get("/metrics"))
            server.terminate()
            self.assertEqual(server.wait(), 0)

        self.inside("apt-get", "remove", "-y", "peerage")
        self.assertEqual(self.asked_of_systemd(), [
            "daemon-reload", "--quiet disable --now peerage.service", "daemon-reload"])
        for folder in ("etc/peerage", "var/lib/peerage"):  # the operator's
            shutil.rmtree(self.root / folder)
        self.assertEqual(self.files() ^ before, set())
        self.inside("apt-get", "purge", "-y", "peerage")
        self.assertNotIn("Package: peerage\n", (self.root / "var/lib/dpkg/status").read_text())


if __name__ == "__main__":
    unittest.main()
