"""The wheel as its users get it: in a clean environment beside PyTorch, it trains peer-pytorch's
example with one changed import.
"""

import os
import pathlib
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build/deps/python-client-venv/bin/python"  # build and setuptools

EXAMPLE = """
import torch
from peerage_torch import PEER

peer = PEER(dim=512, heads=8, num_experts=10_000, num_experts_per_head=16, dim_key=128,
            pre_rmsnorm=True)
optimizer = torch.optim.Adam(peer.parameters(), lr=1e-3)
x, target = torch.randn(2, 128, 512), torch.randn(2, 128, 512)
losses = []
for _ in range(5):
    loss = (peer(x) + x - target).square().mean()
    losses.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
assert losses[-1] < losses[0], losses
import peerage_torch
print(peerage_torch.__file__)
"""


def run(*command, **options):
    finished = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False,
                              timeout=240, **options)
    if finished.returncode != 0:
        said = (finished.stdout + finished.stderr)[-6000:]
        raise AssertionError(f"{' '.join(map(str, command))} failed:\n{said}")
    return finished.stdout


class WheelTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        if not TOOLS.exists():
            raise AssertionError(f"{TOOLS} is not here: run tools/setup.sh image")
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        sources = cls.folder / "sources"
        run("cp", "-rL", ROOT / "train/python", sources)
        run(TOOLS, "-m", "build", "--wheel", "--no-isolation", "--outdir", cls.folder / "dist",
            sources, env=os.environ | {"PEERAGE_REPOSITORY": str(ROOT)})
        (cls.wheel,) = (cls.folder / "dist").glob("*.whl")

    def test_it_holds_the_operators_and_the_licence(self):
        with zipfile.ZipFile(self.wheel) as wheel:
            names = set(wheel.namelist())
        self.assertIn("peerage_torch/libpeerage_torch_operators.so", names)
        self.assertTrue(any("libhwy.so" in name for name in names))
        self.assertTrue(any(name.endswith("LICENSE") for name in names))
        self.assertIn("-py3-none-linux_", self.wheel.name)

    def test_it_trains_peer_pytorch_s_example(self):
        clean = self.folder / "clean"
        run("/usr/bin/python3", "-m", "venv", "--without-pip", clean)
        site = next(clean.glob("lib/python3.*/site-packages"))
        run(TOOLS, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-index",
            "--no-deps", "--target", site, self.wheel)
        # PyTorch takes gigabytes, so the environment borrows the one that runs this test.
        (site / "torch.pth").write_text(sysconfig.get_path("purelib") + "\n")
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("PYTHONPATH", "PEERAGE_TORCH_OPERATORS")}
        where = run(clean / "bin/python", "-c", EXAMPLE, env=environment, cwd=self.folder)
        self.assertTrue(where.startswith(str(site)), where)


if __name__ == "__main__":
    unittest.main()
