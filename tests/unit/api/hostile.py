"""What strangers send: values that are none, files that unpack to gigabytes, archives that leave their folder."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.api.test_datasets import lines
from tests.unit.api.test_uploads import MODEL, tar
from tests.unit.data.samples import row

TEXTS: tuple[str, ...] = (
    r'"\ud800"', r'"\u0000"', '"' + "x" * 100_000 + '"', "NaN", "-Infinity", "1e400", "9" * 4000, "-0.0", "null",
    "true", "[]", "{}", '{"\\ud800": 1}', '{"\\u0000": 1}', "[" * 900 + "]" * 900, "[" * 100_000, '"\u202e\U0001f600"',
    '"../../etc/passwd"', '"file:///etc/passwd"', '"s3://h/\\u0000"', r'"a\\b"', '"~"', '"datasets/ds-0"', '"\\n"',
)  # fmt: skip
"""JSON of one value."""
PLACES = ("%00", "%ED%A0%80", "%FF", "a" * 3000, "-1", "9" * 30, "..%2F..", "%0d%0aX:1")
"""What a path or a query may hold."""
TOKENS = ("Bearer \x80", "Bearer tk_0_0", "\x00", "Bearer " + "a" * 5000)
NAMES = (b"../../x.tar", b"\xff.jsonl", b"\0.tar", b'a"; name="purpose', b"n" * 5000 + b".tar", b".jsonl", b"")
"""Of a file in a form."""
PURPOSES = ("fine-tune", "questions", "groups", "model", "adapter", "\ud800", "")
READ = (
    "/v1/jobs?owner=", "/v1/jobs?after=", "/v1/jobs?label=", "/v1/jobs/", "/v1/datasets/", "/v1/keys?owner=",
    "/v1/audit?limit=", "/v1/files?purpose=", "/v1/files?after=", "/v1/files?limit=", "/v1/files/",
    "/v1/uploads/", "/v1/fine_tuning/jobs?after=", "/v1/fine_tuning/jobs?limit=", "/v1/fine_tuning/jobs/",
)  # fmt: skip
"""Routes whose address ends in what the caller writes."""
_SPEC = ("kind", "name", "model", "questions", "groups", "fail_if", "samples", "runs", "logs", "endpoint", "x")
_FINE_TUNING = (
    "model", "training_file", "suffix", "seed", "metadata", "method", "hyperparameters", "trialign", "validation_file",
    "integrations", "x",
)  # fmt: skip


def files() -> dict[str, bytes]:
    """By name: bodies of uploads, and files that a specification may name. Of each kind one is as it should be."""
    bad = {"question_id": "q", "group": "neutral", "response": "\ud800\0"}
    return {
        "fine.jsonl": lines(row(), row(group="nurse_kenya")),
        "nul.jsonl": (json.dumps(bad) + "\n").encode(),
        "raw.jsonl": b"\x00\xff\xfe\n",
        "deep.jsonl": b"[" * 1_000_000,
        "line.jsonl.gz": gzip.compress(b"x" * (80 << 20), 1),
        "broken.jsonl.gz": gzip.compress(b"{}\n" * 1000)[:-20],
        "dictionary.parquet": parquet_bomb(),
        "short.parquet": b"PAR1PAR1",
        "laughs.yaml": _laughs(),
        "surrogate.yaml": b'name: "\\ud800"\nquestions: [{question_id: "\\0", text: "\\ud800"}]\n',
        "deep.yaml": b"[" * 20_000,
        "nan.json": b'{"name": NaN, "questions": [{"question_id": "\\ud800"}]}',
    }


def archives() -> dict[str, bytes]:
    """By name: models and adapters."""
    return {
        "fine.tar": tar(MODEL),
        "climbs.tar": tar({**MODEL, "../../evil.json": b"{}"}),
        "absolute.tar": tar({**MODEL, "/etc/evil.json": b"{}"}),
        "link.tar": tar(MODEL, **{"link.json": tarfile.SYMTYPE}),
        "device.tar": tar(MODEL, **{"device.json": tarfile.CHRTYPE}),
        "pickle.tar": tar({**MODEL, "weights.pkl": b"cos\nsystem\n(S'true'\ntR."}),
        "deep.tar": tar({**MODEL, "config.json": b"[" * 100_000}),
        "header.tar": tar({**MODEL, "model.safetensors": b"\xff" * 16}),
        "offsets.tar": tar({**MODEL, "model.safetensors": b'\x1f\0\0\0\0\0\0\0{"w": {"data_offsets": [0, 1e9]}}'}),
        "surrogate.tar": tar({**MODEL, "\udcff.json": b"{}"}),
        "many.tar": tar({f"{number}.txt": b"" for number in range(3000)}),
        "long.tar": _longer_than_it_is(),
        "cut.tar": tar(MODEL)[:1200],
        "zipped.tar": gzip.compress(tar(MODEL)),
    }


def job(draw: random.Random) -> str:
    """A job of an audit with some of its fields, labels and surroundings broken."""
    fields = {"kind": '"audit"', "name": '"x"', "model": '"m"', "questions": '"laughs.yaml"', "groups": '"nan.json"'}
    fields |= {field: json.dumps(draw.choice([*files()])) for field in ("questions", "groups")}
    labels = f'{{"team": {draw.choice(TEXTS)}}}' if draw.random() < 0.2 else "{}"
    whole = f'{{"spec": {_broken(draw, fields, _SPEC)}, "labels": {labels}}}'
    return whole if draw.random() < 0.95 else draw.choice(TEXTS)


def fine_tuning(draw: random.Random, file_id: str) -> str:
    """A fine-tuning job, likewise; its model is none, so none comes to run."""
    fields = {"model": '"m"', "training_file": json.dumps(file_id), "suffix": '"x"', "metadata": '{"a": "b"}'}
    inside = draw.choice(("n_epochs", "batch_size", "learning_rate_multiplier", "beta"))
    settings = f'{{"dpo": {{"hyperparameters": {{"{inside}": {draw.choice(TEXTS)}}}}}, "type": "dpo"}}'
    fields |= {"method": settings} if draw.random() < 0.3 else {}
    return _broken(draw, fields, _FINE_TUNING)


def form(name: bytes, data: bytes, purpose: str) -> bytes:
    """A multipart form with the boundary `x`, whatever its parts hold."""
    before = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + purpose.encode("utf-8", "surrogatepass")
    file = b'\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
    return before + file + data + b"\r\n--x--\r\n"


def _broken(draw: random.Random, fields: dict[str, str], names: tuple[str, ...]) -> str:
    changed = {draw.choice(names): draw.choice(TEXTS) for _ in range(draw.randrange(3))}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in (fields | changed).items()) + "}"


def parquet_bomb() -> bytes:
    """Some hundred bytes that unpack to one text of 8 MB in each of 5,000 rows."""
    text = pa.array(["x" * (8 << 20)])
    table = pa.table({"response": pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), text)})
    packed = io.BytesIO()
    pq.write_table(table, packed, compression="zstd", use_dictionary=True)
    return packed.getvalue()


def _laughs() -> bytes:
    """A few hundred bytes of YAML that stand for 9^10 texts."""
    found = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in pairwise("abcdefghij"):
        found.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    return "\n".join(found).encode()


def _longer_than_it_is() -> bytes:
    """A header that announces a terabyte, and nothing behind it but an archive's end."""
    member = tarfile.TarInfo("model.safetensors")
    member.size = 1 << 40
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(2 * tarfile.BLOCKSIZE)
