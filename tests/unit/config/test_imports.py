from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
import trialign_ray.config as config
names = [module.name for module in pkgutil.walk_packages(config.__path__, "trialign_ray.config.")]
for name in names:
    importlib.import_module(name)
heavy = {"torch", "ray", "transformers", "deepspeed", "peft", "pyarrow", "numpy"} & set(sys.modules)
print(len(names), *sorted(heavy))
"""


def test_specifications_need_neither_torch_nor_ray():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    count, *heavy = done.stdout.split()
    assert int(count) >= 7
    assert heavy == []
