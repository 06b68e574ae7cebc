"""Inputs of jobs besides logs: uploads of questions, groups, models and adapters, whole and in parts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.unit.api.fake import Plane, plane
from tests.unit.api.test_datasets import lines
from tests.unit.api.test_openai import sdk
from tests.unit.data.samples import row
from tests.world import World, make_world

pytestmark = pytest.mark.anyio
TENSOR = {"data_offsets": [0, 4], "dtype": "F32", "shape": [1]}


def weights(header: Any = None, data: bytes = b"\0\0\0\0") -> bytes:
    text = json.dumps({"w": TENSOR} if header is None else header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tar(files: Mapping[str, bytes], **odd: Any) -> bytes:
    """An archive of `files` and of members with the given types and targets."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind in odd.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return made.getvalue()


MODEL = {"config.json": b'{"model_type": "llama"}', "model.safetensors": weights()}
ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": weights()}


@pytest.fixture
async def client(control: Plane) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(control, await control.key("ada", "submit")) as found:
        yield found


@pytest.fixture
def world(control: Plane) -> World:
    return make_world(Path(control.settings.workspace))


async def put(client: openai.AsyncOpenAI, name: str, data: bytes, purpose: Any) -> Any:
    return await client.files.create(file=(name, data), purpose=purpose)


def folder_tar(folder: str) -> bytes:
    return tar({path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())})


async def test_a_specification_names_what_was_uploaded(control: Plane, world: World) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        model = await put(client, "model.tar", folder_tar(world.model), "model")
        questions = await put(client, "questions.yaml", Path(world.questions).read_bytes(), "questions")
        groups = await put(client, "groups.yaml", Path(world.groups).read_bytes(), "groups")
        spec = {"kind": "audit", "name": "x", "split": "all", "model": f"files/{model.id}"}
        spec |= {"questions": f"files/{questions.id}", "groups": f"files/{groups.id}"}
        answer = await control.client.post("/v1/jobs:validate", json={"spec": spec}, headers=ada)
        assert answer.status_code == 200, answer.text
        assert (await client.files.content(questions.id)).content == Path(world.questions).read_bytes()
        with tarfile.open(fileobj=io.BytesIO((await client.files.content(model.id)).content)) as archive:
            assert set(archive.getnames()) >= {"config.json", "model.safetensors"}
        wrong = {**spec, "groups": f"files/{questions.id}"}
        refused = await control.client.post("/v1/jobs:validate", json={"spec": wrong}, headers=ada)
        assert refused.json()["errors"][0]["pointer"] == "/body/spec/groups"
        assert "Upload it for 'groups'" in refused.json()["errors"][0]["detail"]
        bob = await control.key("bob", "submit")
        assert (await control.client.post("/v1/jobs:validate", json={"spec": spec}, headers=bob)).status_code == 422


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no archive", "no tar archive"),
        (tar({**MODEL, "pytorch_model.bin": b"x"}), "could run code"),
        (tar({**MODEL, "modeling.py": b"x"}), "could run code"),
        (tar({**MODEL, "../../evil.json": b"{}"}), "no name of a model's file"),
        (tar({**MODEL, "/etc/evil.json": b"{}"}), "no name of a model's file"),
        (tar({**MODEL, "a/b/c/d.json": b"{}"}), "no name of a model's file"),
        (tar(MODEL, **{"link.json": tarfile.SYMTYPE}), "a link or a device"),
        (tar(MODEL, **{"hard.json": tarfile.LNKTYPE}), "a link or a device"),
        (tar(MODEL, **{"device.json": tarfile.CHRTYPE}), "a link or a device"),
        (tar({**MODEL, "./config.json": b"{}"}), "there twice"),
        (tar({**MODEL, "LICENSE": b"", "LICENSE/a.txt": b""}), "a file and a folder"),
        (tar({**MODEL, "LICENSE/a.txt": b"", "LICENSE": b""}), "a file and a folder"),
        (tar({"config.json": b"{}"}), "no .safetensors"),
        (tar({"model.safetensors": weights()}), "no config.json"),
        (tar({**MODEL, "config.json": b"[]"}), "cannot be read"),
        (tar({**MODEL, "model.safetensors": b"\xff" * 16}), "no safetensors file"),
        (tar({**MODEL, "model.safetensors": weights(data=b"\0")}), "cut short"),
        (tar({**MODEL, "model.safetensors": weights([])}), "no safetensors file"),
        (tar({**MODEL, "2_Dense/model.safetensors": weights(data=b"\0")}), "cut short"),
        (tar(MODEL)[:1200], "no tar archive"),
    ],
)
async def test_a_model_that_could_harm_or_is_none_is_refused_and_leaves_nothing(
    control: Plane, client: openai.AsyncOpenAI, data: bytes, said: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await put(client, "model.tar", data, "model")
    assert said in str(refused.value), str(refused.value)
    assert str(control.settings.data) not in str(refused.value)
    assert list((control.settings.data / "datasets").iterdir()) == []


async def test_an_adapter_comes_for_all_groups_or_for_each_in_a_folder(client: openai.AsyncOpenAI) -> None:
    each = {f"{group}/{name}": data for group in ("nurse", "farmer") for name, data in ADAPTER.items()}
    for files in (ADAPTER, each):
        for top in ("", "adapter/"):
            made = await put(client, "adapter.tar", tar({top + name: data for name, data in files.items()}), "adapter")
            assert made.purpose == "adapter"


async def test_a_models_folders_come_in_any_order(client: openai.AsyncOpenAI) -> None:
    """Of sentence-transformers, packed with the folder itself: what lies deepest comes first."""
    files = {"model/1_Pooling/config.json": b"{}", **{f"model/{name}": data for name, data in MODEL.items()}}
    made = await put(client, "model.tar", tar(files), "model")
    assert made.purpose == "model"


async def test_a_file_for_no_purpose_of_its_ending_is_refused(client: openai.AsyncOpenAI) -> None:
    for name, purpose in (("x.bin", "model"), ("x.csv", "fine-tune"), ("x.tar.gz", "adapter"), ("n" * 121, "groups")):
        with pytest.raises(openai.BadRequestError) as refused:
            await put(client, name, b"x", purpose)
        assert refused.value.param == "file"
    with pytest.raises(openai.BadRequestError) as bad:
        await put(client, "groups.yaml", b"groups: [", "groups")
    assert bad.value.code == "bad_spec"


async def test_a_form_that_is_none_is_refused(control: Plane) -> None:
    ada, client = await control.key("ada", "submit"), control.client
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\r\n'
    purpose = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    odd = b'--x\r\nContent-Disposition: form-data; name="odd"\r\n\r\n1\r\n'
    for body, headers, status in (
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"nonsense", kind, 400),
        (part + purpose, kind, 400),
        (purpose + b"--x--\r\n", kind, 400),
        (part + part + purpose + b"--x--\r\n", kind, 400),
        (part + purpose + purpose + b"--x--\r\n", kind, 400),
        (part + purpose + odd + b"--x--\r\n", kind, 400),
        (b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n--x--\r\n', kind, 400),
        (purpose[:-2] + b"x" * 5000 + b"\r\n--x--\r\n", kind, 400),
    ):
        answer = await client.post("/v1/files", content=body, headers=ada | headers)
        assert (answer.status_code, set(answer.json())) == (status, {"error"}), answer.text
    assert not list((control.settings.data / "datasets").glob("*"))


async def test_a_file_comes_in_parts_and_goes_on_where_it_broke_off(control: Plane) -> None:
    ada, data = await control.key("ada", "submit"), lines(row(), row(group="nurse_kenya"))
    async with sdk(control, ada) as client:
        upload = await client.uploads.create(
            bytes=len(data), filename="logs.jsonl", mime_type="text/jsonl", purpose="fine-tune"
        )
        second = await client.uploads.parts.create(upload.id, data=data[100:])
        seen = (await control.client.get(f"/v1/uploads/{upload.id}", headers=ada)).json()
        assert [(part["id"], part["bytes"]) for part in seen["parts"]] == [(second.id, len(data) - 100)]
        assert seen["parts"][0]["sha256"] == hashlib.sha256(data[100:]).hexdigest()
        first = await client.uploads.parts.create(upload.id, data=data[:100])
        with pytest.raises(openai.BadRequestError) as damaged:
            await client.uploads.complete(upload.id, part_ids=[first.id, second.id], md5="0" * 32)
        assert damaged.value.param == "md5"
        done = await client.uploads.complete(
            upload.id, part_ids=[first.id, second.id], md5=hashlib.md5(data).hexdigest()
        )
        assert done.status == "completed"
        assert done.file is not None
        assert (await client.files.content(done.file.id)).content == data
        assert not (control.settings.data / "uploads" / upload.id).exists()
        with pytest.raises(openai.BadRequestError) as again:
            await client.uploads.parts.create(upload.id, data=b"x")
        assert again.value.code == "wrong_status"


async def test_the_clients_own_chunked_upload_works(client: openai.AsyncOpenAI) -> None:
    data = lines(row())
    done = await client.uploads.upload_file_chunked(
        file=data, filename="logs.jsonl", bytes=len(data), mime_type="text/jsonl", purpose="fine-tune", part_size=64
    )
    assert done.file is not None


async def test_parts_that_are_not_the_file_are_refused(client: openai.AsyncOpenAI) -> None:
    given: Any = {"bytes": 10, "filename": "logs.jsonl", "mime_type": "", "purpose": "fine-tune"}
    upload, other = [await client.uploads.create(**given) for _ in range(2)]
    one = await client.uploads.parts.create(upload.id, data=b"12345")
    strange = await client.uploads.parts.create(other.id, data=b"12345")
    with pytest.raises(openai.BadRequestError):
        await client.uploads.parts.create(upload.id, data=b"123456")
    for part_ids in ([one.id], [one.id, one.id], [one.id, strange.id], []):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.uploads.complete(upload.id, part_ids=part_ids)
        assert refused.value.param == "part_ids"
    assert (await client.uploads.cancel(upload.id)).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        await client.uploads.complete(upload.id, part_ids=[one.id])


async def test_an_upload_is_its_owners(control: Plane, client: openai.AsyncOpenAI) -> None:
    upload = await client.uploads.create(bytes=10, filename="a.jsonl", mime_type="", purpose="fine-tune")
    async with sdk(control, await control.key("bob", "submit")) as bob:
        for action in (
            bob.uploads.parts.create(upload.id, data=b"1"),
            bob.uploads.complete(upload.id, part_ids=["part-" + "0" * 28]),
            bob.uploads.cancel(upload.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await action


async def test_the_owners_quota_holds_files_and_what_was_announced(tmp_path: Path, sqlite: Path) -> None:
    data = b"groups: [{name: neutral}, {name: farmer}]"
    async with plane(tmp_path, owner_bytes=2 * len(data)) as control:
        async with sdk(control, await control.key("ada", "submit")) as client:
            given: Any = {"filename": "a.yaml", "mime_type": "", "purpose": "groups"}
            await put(client, "a.yaml", data, "groups")
            upload = await client.uploads.create(bytes=len(data), **given)
            for action in (put(client, "a.yaml", data, "groups"), client.uploads.create(bytes=1, **given)):
                with pytest.raises(openai.BadRequestError) as full:
                    await action
                assert full.value.code == "quota_exceeded"
            part = await client.uploads.parts.create(upload.id, data=data)
            await client.uploads.complete(upload.id, part_ids=[part.id])
        async with sdk(control, await control.key("bob", "submit")) as bob:
            await put(bob, "a.yaml", data, "groups")


async def test_what_a_killed_process_left_of_a_model_is_deleted_after_a_day(
    control: Plane, client: openai.AsyncOpenAI
) -> None:
    kept = await put(client, "adapter.tar", tar(ADAPTER), "adapter")
    folder = control.settings.data / "datasets"
    left = folder / f"ds-{1:028x}"
    (left / ".unpacking").mkdir(parents=True)
    (left / "upload.tar").touch()
    old = time.time() - 25 * 3600
    for home in folder.iterdir():
        for path in (*home.rglob("*"), home):
            os.utime(path, (old, old))
    await control.app.state.services.datasets.sweep()
    assert [home.name for home in folder.iterdir()] == ["ds-" + kept.id.removeprefix("file-")]
