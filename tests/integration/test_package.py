"""What is installed and packaged: the programs run from anywhere, and say where nothing was built."""

import pathlib
import subprocess
import tempfile
import unittest

from server_process import BIN, LIMIT_SECONDS, ROOT_OF_TESTS, Server

BUILD = BIN.resolve().parent
MODEL = ROOT_OF_TESTS / "golden" / "models" / "peerage_odd_sizes"
PROGRAMS = ("peerage", "peerage-model", "peerage-server")


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True,
                          timeout=LIMIT_SECONDS, **options).stdout


class PackageTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        run("cpack", "-B", cls.folder, cwd=BUILD)
        cls.package, = cls.folder.glob("*.deb")
        cls.root = cls.folder / "root"
        run("dpkg-deb", "-x", cls.package, cls.root)

    def test_depends_on_the_libraries_that_its_programs_link(self):
        self.assertEqual(run("dpkg-deb", "-f", self.package, "Package"), "peerage\n")
        depends = run("dpkg-deb", "-f", self.package, "Depends")
        for library in ("libc6", "libgrpc++1.51", "libprometheus-cpp-core1.0"):
            self.assertIn(f"{library} (", depends)
        self.assertNotIn("-dev", depends)

    def test_has_programs_contract_service_and_boards(self):
        for path in ("lib/systemd/system/peerage.service", "share/peerage/peerage.toml",
                     "share/peerage/proto/peerage/v1/inference.proto",
                     "share/peerage/grafana/dashboards/experts.json", "share/peerage/prometheus/rules.yml",
                     "share/bash-completion/completions/peerage", "share/doc/peerage/README.md"):
            self.assertTrue((self.root / "usr" / path).is_file(), path)

    def test_completes_the_options_of_its_program(self):
        installed = (self.root / "usr/share/bash-completion/completions/peerage").read_text()
        self.assertEqual(installed, run(self.root / "usr/bin/peerage", "completion"))

    def test_knows_nothing_of_the_build(self):
        for program in PROGRAMS:
            path = self.root / "usr/bin" / program
            self.assertRegex(run(path, "--version"), rf"^{program} \d+\.\d+\.\d+\n$")
            self.assertNotRegex(run("readelf", "-d", path), "R(UN)?PATH")
            self.assertNotIn(str(BUILD).encode(), path.read_bytes())

    def test_serves_and_drains(self):
        with Server(model=MODEL, bin=self.root / "usr/bin") as server:
            self.assertEqual(server.get("/readyz")[0], 200)
            health = server.run("health")
            self.assertEqual(health.returncode, 0, health.stderr)
            server.terminate()
            self.assertEqual(server.wait(), 0)

    def test_the_service_takes_its_configuration(self):
        config = (self.root / "usr/share/peerage/peerage.toml").read_text()
        path = self.folder / "peerage.toml"
        path.write_text(config.replace("/var/lib/peerage/model.gguf", str(MODEL)))
        printed = run(self.root / "usr/bin/peerage-server", "--config", path, "--print-config")
        self.assertIn(f'model = "{MODEL}"', printed)


if __name__ == "__main__":
    unittest.main()
