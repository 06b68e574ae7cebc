"""Whether this machine's CPU multiplies bfloat16 numbers; one that does not emulates them, tens of times slower."""

from __future__ import annotations

from pathlib import Path

from trialign_ray.progress import Progress

_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Of CPUs that do; the last is ARM's."""
_CPUINFO = Path("/proc/cpuinfo")


def lacks_bfloat16(cpuinfo: str) -> bool:
    """By the text of /proc/cpuinfo; x86 lists 'flags', ARM 'Features'."""
    return _FLAGS.isdisjoint(cpuinfo.split())


def note_slow_precision(dtype: str, device: str, field: str, progress: Progress) -> None:
    """Say so where a run asks this CPU for bfloat16 and it has none. field: what to set to 'float32'."""
    if dtype != "bfloat16" or device != "cpu" or not _CPUINFO.exists():
        return
    if lacks_bfloat16(_CPUINFO.read_text(encoding="utf-8", errors="replace")):
        told = "the CPU of this machine emulates bfloat16, tens of times slower than float32"
        progress.note(f"{told}; set '{field}: float32'")
