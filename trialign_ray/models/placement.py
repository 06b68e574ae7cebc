"""Where a model runs and in which precision, where that is left to the machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trialign_ray.errors import ModelError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model runs, and in which precision."""

    device: str
    dtype: str

    @staticmethod
    def of(device: str, dtype: str, gpus_per_worker: float | None = None) -> Place:
        """What the wishes come to here; raises ModelError as `device_of` does.

        With GPUs for each worker the model runs on those, whatever this machine has; 'auto' is then bfloat16.
        """
        if gpus_per_worker:
            return Place("cuda", "bfloat16" if dtype == "auto" else dtype)
        found = device_of(device)
        return Place(found, dtype_of(dtype, found))


def device_of(wish: str) -> str:
    """'cpu' or 'cuda'; 'auto' is CUDA where PyTorch finds a GPU. Raises ModelError for 'cuda' where it finds none."""
    found = torch.cuda.is_available()
    if wish == "cuda" and not found:
        raise ModelError("PyTorch finds no CUDA device here. Choose device 'cpu', or install PyTorch for CUDA.")
    return ("cuda" if found else "cpu") if wish == "auto" else wish


def dtype_of(wish: str, device: str) -> str:
    """'float32' or 'bfloat16'; 'auto' is bfloat16 on a GPU that has it, else float32.

    Many CPUs have no bfloat16 instructions, and one without multiplies in float32, and converts.
    """
    if wish != "auto":
        return wish
    return "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
