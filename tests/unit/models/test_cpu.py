"""A run that asks a CPU for what it has not is told so, and no other run is."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialign_ray.models import cpu
from trialign_ray.progress import Silent


class Notes(Silent):
    """Keeps what was noted."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(
    ("flags", "dtype", "device", "told"),
    [
        ("fpu avx2", "bfloat16", "cpu", True),
        ("fpu avx2", "float32", "cpu", False),
        ("fpu avx2", "bfloat16", "cuda", False),
        ("fpu avx512_bf16", "bfloat16", "cpu", False),
    ],
)
def test_emulated_arithmetic_is_told(
    flags: str, dtype: str, device: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "cpuinfo"
    file.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(cpu, "_CPUINFO", file)
    notes = Notes()
    cpu.note_slow_precision(dtype, device, "learner.dtype", notes)
    assert len(notes.told) == told
    assert all("set 'learner.dtype: float32'" in note for note in notes.told)
