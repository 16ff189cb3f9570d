"""What deploy/ and the Dockerfile say: Compose and hadolint take them, and what they name is there."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from server_process import LIMIT_SECONDS, run_server_to_its_end

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "build/deps/image-venv/bin"
VERSION = re.search(r"^project\(peerage VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)[1]


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True,
                          timeout=LIMIT_SECONDS, **options).stdout


def compose(*options, environment=None):
    """compose.yaml as Docker Compose resolves it."""
    environment = environment or {"MODELS": str(ROOT), "MODEL": "model.gguf"}
    return json.loads(run(TOOLS / "docker-compose", "-f", DEPLOY / "compose.yaml", *options, "config",
                          "--format", "json", env=environment))


def mounts(service):
    """(source on this machine, target, read_only) of a service's folders and files."""
    return [(pathlib.Path(volume["source"]), volume["target"], volume.get("read_only", False))
            for volume in service["volumes"] if volume["type"] == "bind"]


class DockerfileTest(unittest.TestCase):

    def test_hadolint_finds_nothing(self):
        run(TOOLS / "hadolint", ROOT / "Dockerfile")

    def test_the_context_has_what_the_build_reads_and_no_build(self):
        allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines()
                   if line.startswith("!")}
        self.assertEqual({name for name in allowed if not (ROOT / name).exists()}, set())
        added = set(re.findall(r"^add_subdirectory\((\w+)\)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE))
        self.assertLessEqual(added, allowed)
        self.assertFalse(allowed & {"build", "tests", "bench", ".git"})


class ComposeTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.services = {**compose()["services"], **compose("--profile", "nvidia")["services"]}

    def test_has_a_server_its_prometheus_and_grafana(self):
        self.assertEqual(set(compose()["services"]), {"peerage", "prometheus", "grafana"})
        self.assertEqual(set(compose("--profile", "nvidia")["services"]),
                         {"peerage-nvidia", "prometheus", "grafana"})
        devices = self.services["peerage-nvidia"]["deploy"]["resources"]["reservations"]["devices"]
        self.assertEqual([(device["driver"], device["capabilities"]) for device in devices], [("nvidia", ["gpu"])])

    def test_asks_for_a_model(self):
        for environment in ({"MODELS": str(ROOT)}, {"MODEL": "model.gguf"}):
            with self.assertRaises(subprocess.CalledProcessError) as failure:
                compose(environment=environment)
            self.assertIn("holds the models" if "MODEL" in environment else "shall be served",
                          failure.exception.stderr)

    def test_is_reached_from_this_machine_only(self):
        for name, service in self.services.items():
            self.assertEqual({port["host_ip"] for port in service["ports"]}, {"127.0.0.1"}, name)
            self.assertNotIn("network_mode", service)

    def test_gives_no_service_more_than_it_needs(self):
        for name, service in self.services.items():
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)
            self.assertRegex(service["user"], r"^[1-9]\d*:\d+$")
            self.assertTrue(service["tmpfs"], name)
            limits = service["deploy"]["resources"]["limits"]
            self.assertTrue(limits["memory"] and limits["pids"], name)

    def test_pins_every_image(self):
        for name, service in self.services.items():
            self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+(-\w+)?$", name)
        for device in ("cpu", "cuda"):
            service = self.services["peerage" if device == "cpu" else "peerage-nvidia"]
            self.assertEqual(service["image"], f"peerage:{VERSION}-{device}")
            self.assertEqual(service["build"]["args"]["VERSION"], VERSION)
            self.assertEqual(service["build"]["args"]["DEVICE"], device)
            self.assertTrue(pathlib.Path(service["build"]["context"], service["build"]["dockerfile"]).is_file())

    def test_mounts_what_is_there_to_be_read(self):
        for name, service in self.services.items():
            for source, target, read_only in mounts(service):
                self.assertTrue(source.exists(), f"{name}: {source}")
                self.assertTrue(read_only, f"{name}: {target}")

    def test_starts_one_after_the_other(self):
        after = {name: service.get("depends_on", {}) for name, service in self.services.items()}
        self.assertEqual(set(after["prometheus"]) - {"peerage-nvidia"}, {"peerage"})
        self.assertEqual(set(after["grafana"]), {"prometheus"})
        conditions = {gate["condition"] for gates in after.values() for gate in gates.values()}
        self.assertEqual(conditions, {"service_healthy"})
        self.assertIn("healthcheck", self.services["prometheus"])  # the server's is its image's

    def test_the_server_takes_its_configuration_and_has_time_to_drain(self):
        for device, name in (("cpu", "peerage"), ("cuda:0", "peerage-nvidia")):
            environment = self.services[name]["environment"]
            printed = run_server_to_its_end("--print-config", environment=environment)
            self.assertEqual(printed.returncode, 0, printed.stderr)
            self.assertEqual(printed.stderr, "")
            self.assertIn('listen = "0.0.0.0:50051"', printed.stdout)
            self.assertIn('model = "/models/model.gguf"', printed.stdout)
            self.assertIn("/models", [target for _, target, _ in mounts(self.services[name])])
            if device != "cpu":
                self.assertIn(f'device = "{device}"', printed.stdout)
            self.assertIn('drain-timeout = "30s"', printed.stdout)
            self.assertEqual(self.services[name]["stop_grace_period"], "45s")

    def test_prometheus_scrapes_the_server_with_our_rules(self):
        files = {target: source for source, target, _ in mounts(self.services["prometheus"])}
        with tempfile.TemporaryDirectory() as folder:
            for target, source in files.items():
                self.assertEqual(pathlib.Path(target).parent, pathlib.Path("/etc/prometheus"))
                shutil.copy(source, pathlib.Path(folder, pathlib.Path(target).name))
            checked = run("promtool", "check", "config", f"{folder}/prometheus.yml")
            self.assertRegex(checked, r"[1-9]\d* rules found")
        targets = files["/etc/prometheus/targets.yml"].read_text()
        host, port = re.search(r'targets: \["([\w.-]+):(\d+)"\]', targets).groups()
        for name in ("peerage", "peerage-nvidia"):
            self.assertEqual(self.services[name]["networks"]["default"]["aliases"], [host])
            self.assertTrue(self.services[name]["environment"]["PEERAGE_ADMIN_LISTEN"].endswith(f":{port}"))
        self.assertTrue((DEPLOY / "prometheus/targets.yml").read_text().endswith('["127.0.0.1:9091"]\n'))

    def test_grafana_finds_its_data_and_its_boards(self):
        files = {target: source for source, target, _ in mounts(self.services["grafana"])}
        source = (files["/etc/grafana/provisioning/datasources"] / "prometheus.yaml").read_text()
        port = self.services["prometheus"]["ports"][0]["target"]
        self.assertIn(f"url: http://prometheus:{port}\n", source)
        provider = (files["/etc/grafana/provisioning/dashboards"] / "peerage.yaml").read_text()
        boards = files[re.search(r"path: (\S+)", provider)[1]]
        self.assertEqual(len(list(boards.glob("*.json"))), 3)
        uid = re.search(r"uid: (\S+)", source)[1]
        for path in boards.glob("*.json"):
            board = json.loads(path.read_text())
            (variable,) = [v for v in board["templating"]["list"] if v["type"] == "datasource"]
            self.assertEqual(variable["current"]["value"], uid, path.name)
            used = set(re.findall(r'"uid": "([^"]*)"', json.dumps(board["panels"])))
            self.assertEqual(used, {"${datasource}"}, path.name)


if __name__ == "__main__":
    unittest.main()
