"""Where a model runs where that is left to the machine."""

from __future__ import annotations

import pytest
import torch

from trialign_ray.errors import ModelError
from trialign_ray.models.placement import Place, device_of, dtype_of


@pytest.mark.parametrize(
    ("gpu", "bf16", "device", "dtype"),
    [(False, False, "cpu", "float32"), (True, True, "cuda", "bfloat16"), (True, False, "cuda", "float32")],
)
def test_the_machine_decides(gpu: bool, bf16: bool, device: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    assert device_of("auto") == device
    assert dtype_of("auto", device) == dtype


def test_a_wish_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("cpu") == "cpu"
    assert dtype_of("bfloat16", "cpu") == "bfloat16"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="finds no CUDA device"):
        device_of("cuda")


def test_workers_with_gpus_have_the_model_on_them_whatever_is_here() -> None:
    assert Place.of("auto", "auto", 0.5) == Place("cuda", "bfloat16")
    assert Place.of("auto", "float32", 2) == Place("cuda", "float32")
    assert Place.of("cpu", "auto", 0) == Place.of("cpu", "auto") == Place("cpu", "float32")
