from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.data.partition import memory_mapped
from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import DataError

from .samples import GROUPS, grid, table


@pytest.fixture
def logs(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", (*GROUPS, "nobody"))
    return tmp_path / "logs"


@pytest.mark.parametrize("group", [*GROUPS, "nobody"])
def test_the_mapped_rows_are_the_group_s_rows(logs, tmp_path, group):
    mapped = memory_mapped(logs, group, tmp_path / "cache")
    assert mapped.schema.equals(SCHEMA, check_metadata=True)
    assert mapped.equals(read_logs(logs, group))


def test_mapped_rows_take_no_memory(tmp_path):
    write_logs(table(grid(questions=2000)), tmp_path / "logs", GROUPS)
    memory_mapped(tmp_path / "logs", "neutral", tmp_path / "cache")
    before = pa.total_allocated_bytes()
    mapped = memory_mapped(tmp_path / "logs", "neutral", tmp_path / "cache")
    assert mapped.nbytes > 500_000
    assert pa.total_allocated_bytes() - before < 50_000


def test_the_conversion_happens_once(logs, tmp_path):
    first = memory_mapped(logs, "neutral", tmp_path / "cache")
    (logs / "group=neutral" / "part-0.parquet").unlink()
    assert memory_mapped(logs, "neutral", tmp_path / "cache").equals(first)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_other_content_at_the_same_path_is_converted_again(logs, tmp_path):
    memory_mapped(logs, "neutral", tmp_path / "cache")
    write_logs(table(grid(1)), logs, GROUPS, overwrite=True)
    assert memory_mapped(logs, "neutral", tmp_path / "cache").equals(read_logs(logs, "neutral"))


def test_a_damaged_part_is_not_cached(logs, tmp_path):
    part = logs / "group=neutral" / "part-0.parquet"
    pq.write_table(pq.ParquetFile(part).read(), part, compression="snappy")
    with pytest.raises(DataError, match="sha256"):
        memory_mapped(logs, "neutral", tmp_path / "cache")
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []


def test_an_unknown_group_is_named(logs, tmp_path):
    with pytest.raises(DataError, match="no group 'tourist'"):
        memory_mapped(logs, "tourist", tmp_path / "cache")


def test_processes_that_race_all_get_the_rows(logs, tmp_path):
    code = (
        "import sys; from trialign_ray.data.partition import memory_mapped; sys.stdin.readline();"
        "print(memory_mapped(sys.argv[1], 'neutral', sys.argv[2]).num_rows)"
    )
    command = [sys.executable, "-c", code, str(logs), str(tmp_path / "cache")]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    rows = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert rows == [read_logs(logs, "neutral").num_rows] * 4
    assert len(list((tmp_path / "cache").iterdir())) == 1
