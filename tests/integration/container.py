"""Images in buildah's storage, and containers of root folders by runc: no daemon, a network of their own."""

import contextlib
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

from server_process import LIMIT_SECONDS, read_line

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE_TOOL = ROOT / "tools/image.sh"
BUILD_SECONDS = 1800  # from nothing, on two busy cores
GET = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=60).read().decode())"
NAMES = itertools.count()


def run(*command, limit=LIMIT_SECONDS, **options):
    """The output of a command that must succeed; what it said when it does not."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=limit,
                          check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def inspect(image):
    """An image's configuration, as buildah keeps it."""
    return json.loads(run(IMAGE_TOOL, "buildah", "inspect", "--type", "image", image))["Docker"]["config"]


@contextlib.contextmanager
def root_of(image):
    """A folder with a copy of an image's files."""
    with tempfile.TemporaryDirectory(prefix="root-", dir=ROOT / "build/image") as folder:
        run(IMAGE_TOOL, "unpack", image, folder, limit=BUILD_SECONDS)
        yield pathlib.Path(folder)


def files_of(root):
    """Paths below a root folder, with the bytes of plain files."""
    return {"/" + str(path.relative_to(root)):
            path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
            for path in root.rglob("*")}


def bind(source, target):
    return {"destination": target, "source": str(source), "type": "bind",
            "options": ["bind", "ro", "nosuid", "nodev"]}


def runtime_config(root, arguments, user, environment, mounts):
    """No capability, no right that a program could gain, and nothing to write to but /tmp."""
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": user, "gid": user}, "args": arguments, "cwd": "/",
                    "env": environment, "capabilities": {}, "noNewPrivileges": True},
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec"]},
            *mounts],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }


class Container:
    """A running server. Leaving the `with` block ends it however it is."""

    def __init__(self, root, arguments, *, user, environment=("PATH=/usr/bin",), mounts=()):
        self.root = root
        self.bundle = tempfile.TemporaryDirectory()
        self.log = tempfile.TemporaryFile("w+")
        self.name = f"peerage-{pathlib.Path(self.bundle.name).name}-{next(NAMES)}"
        config = runtime_config(root, arguments, user, list(environment), list(mounts))
        pathlib.Path(self.bundle.name, "config.json").write_text(json.dumps(config))
        self.process = subprocess.Popen(
            ["runc", "run", "--bundle", self.bundle.name, self.name], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ready_line = read_line(self.process.stdout)

    def __enter__(self):
        if not self.ready_line:
            self.__exit__()
            raise AssertionError("the container printed no line")
        self.pid = json.loads(run("runc", "state", self.name))["pid"]
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            subprocess.run(["runc", "delete", "--force", self.name], check=False, timeout=LIMIT_SECONDS)
        self.process.wait(LIMIT_SECONDS)
        self.process.stdout.close()
        self.log.seek(0)
        print(self.log.read(), file=sys.stderr)
        self.log.close()
        self.bundle.cleanup()

    def exec(self, *command):
        """A command inside, as a health check is run."""
        return run("runc", "exec", self.name, *command)

    def nearby(self, *command):
        """A command in the container's network that outlives the container."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]

    def client(self, *arguments):
        """The command line of the image's own client, as `nearby` runs it."""
        return self.nearby(f"--root={self.root}", "/usr/bin/peerage", *arguments)

    def get(self, path):
        return run(*self.nearby("/usr/bin/python3", "-c", GET, f"http://127.0.0.1:9091{path}"))

    def status(self):
        """The lines of /proc/PID/status of the first process."""
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def terminate(self):
        run("runc", "kill", self.name, "TERM")

    def wait(self):
        return self.process.wait(LIMIT_SECONDS)
