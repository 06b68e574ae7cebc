"""An export says done only when both models, loaded again, are the trained policy; else it leaves nothing."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.world import World
from trialign_ray.config.train import LoraSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints import export as exporting
from trialign_ray.entrypoints.export import export
from trialign_ray.errors import CheckpointError, ExportError, ModelError
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.models.loading import load_adapted, load_model, load_policy, model_hash
from trialign_ray.trainer.policy import adapt

VOCABULARY, WIDTH = 512, 32
"""Of the tiny model."""
PROMPT = torch.tensor([[2, 7, 8, 9, 3]])
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(params=["float32", "bfloat16"])
def run(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Path:
    return make_run(world, tmp_path, request.param)


@pytest.fixture
def simple_run(world: World, tmp_path: Path) -> Path:
    return make_run(world, tmp_path, "float32")


INPUTS = {"model_hash": "m", "logs_sha256": "l"}


def make_run(world: World, folder: Path, dtype: str) -> Path:
    """The folder of a run that has trained: a specification and an adapter that changes the model."""
    spec = world.train_spec("demo", runs=str(folder / "runs"), learner={"dtype": dtype})
    RunFolder.of(spec).claim(spec, INPUTS, resume=False)
    policy = adapt(load_model(world.model, dtype, "eager"), LoraSpec(rank=4), spec.learner, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    policy.model.save_pretrained(str(folder / "runs" / "demo" / "adapter"), safe_serialization=True)
    return folder / "runs" / "demo"


def logits(model: object) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model(input_ids=PROMPT).logits[0, -1].float()  # type: ignore[operator]
    return found


def change(file: Path, how: Callable[[Tensor], Tensor]) -> None:
    """Rewrite the weights of a safetensors file."""
    save_file({name: how(value) for name, value in load_file(file).items()}, file, metadata={"format": "pt"})


def corrupted(monkeypatch: pytest.MonkeyPatch, file: str, how: Callable[[Tensor], Tensor]) -> None:
    """As if the disk had changed `file` of the export between writing and loading it again."""
    written = exporting._write

    def write(model: Path, adapter: Path, staging: Path, dtype: str) -> None:
        written(model, adapter, staging, dtype)
        change(staging / file, how)

    monkeypatch.setattr(exporting, "_write", write)


def assert_nothing_at(target: Path) -> None:
    assert not target.exists()
    assert [path.name for path in target.parent.iterdir() if ".export." in path.name] == []


def test_both_models_are_written_and_load_as_the_trained_policy(run: Path, world: World, tmp_path: Path) -> None:
    done = export(str(run), str(tmp_path / "export"))
    dtype = json.loads((run / "spec.json").read_text())["learner"]["dtype"]
    trained = logits(load_adapted(world.model, run / "adapter", dtype))
    assert torch.equal(logits(load_model(tmp_path / "export" / "merged", dtype)), trained)
    assert torch.equal(logits(load_adapted(world.model, tmp_path / "export" / "adapter", dtype)), trained)
    assert (trained - logits(load_model(world.model, dtype))).abs().max() > 0.5
    assert done.adapter_difference == 0
    assert done.merged_divergence <= exporting.MERGED_BOUND[dtype]
    assert done.responses > 3
    assert done.tokens > done.responses


def test_the_probes_are_of_all_groups_and_of_questions_that_lie_apart() -> None:
    logs = str(Path(__file__).parents[3] / "demo" / "logs")
    probes = exporting._probes(logs)
    assert len(probes) == 16
    assert len({tuple(probe.ids[: probe.start]) for probe in probes}) == 16
    prompts = {tuple(ids) for ids in read_logs(logs, "neutral", ["prompt_ids"])["prompt_ids"].to_pylist()}
    assert sum(tuple(probe.ids[: probe.start]) in prompts for probe in probes) == 2


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the elements of the tensors over the vocabulary that are alive at one time."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vocabulary = vocabulary
        self.held: int = 0
        self.most: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point() and out.ndim > 1 and self._over_vocabulary(out):
            self.held += out.numel()
            self.most = max(self.most, self.held)
            weakref.finalize(out, self._released, out.numel())
        return out

    def _over_vocabulary(self, tensor: Tensor) -> bool:
        # A weight of the head has as many columns as the model is wide.
        return tensor.shape[-1] == self.vocabulary and tensor.shape[-2] != WIDTH

    def _released(self, elements: int) -> None:
        self.held -= elements


def test_the_memory_of_a_comparison_does_not_grow_with_the_responses(
    simple_run: Path, world: World, tmp_path: Path
) -> None:
    staging, probe = tmp_path / "staging", exporting.Probe(PROMPT[0].tolist(), 2)
    exporting._write(Path(world.model), simple_run / "adapter", staging, "float32")

    def most(probes: int) -> int:
        counted = Held(VOCABULARY)
        with counted:
            found = exporting._compare(Path(world.model), simple_run / "adapter", staging, "float32", [probe] * probes)
        assert found[:2] == (probes, 3 * probes)
        return counted.most

    few = most(2)
    assert few >= 3 * VOCABULARY
    assert most(20) == few


def test_a_long_response_is_compared_in_chunks_of_equal_log_probs(
    simple_run: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_policy(world.model, simple_run / "adapter", "float32")
    probe = exporting.Probe([2, 7, 8, 9, 3, 7, 7, 8], 3)
    (whole_tv,) = exporting._logprobs(model, [probe])
    monkeypatch.setattr(exporting, "_CHUNK", 2)
    chunks = list(exporting._logprobs(model, [probe]))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    torch.testing.assert_close(torch.cat(chunks), whole_tv, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        expected_tv = model(input_ids=torch.tensor([probe.ids])).logits[0, 2:-1].float().log_softmax(-1)
    torch.testing.assert_close(whole_tv, expected_tv, atol=1e-5, rtol=1e-5)


def test_the_merged_model_is_whole(simple_run: Path, tmp_path: Path) -> None:
    """A folder that any server of models takes: configuration, weights, tokenizer with its chat template."""
    from transformers import AutoTokenizer

    export(str(simple_run), str(tmp_path / "export"))
    merged = tmp_path / "export" / "merged"
    assert list(merged.glob("*.safetensors"))
    assert not list(merged.glob("*.bin"))
    assert AutoTokenizer.from_pretrained(merged).chat_template


def test_the_export_says_how_close_it_is_and_to_what(simple_run: Path, world: World, tmp_path: Path) -> None:
    done = export(str(simple_run), str(tmp_path / "export"))
    said = json.loads((tmp_path / "export" / "export.json").read_text())
    assert said["base"] == model_hash(world.model)
    assert said["merged_divergence"] == done.merged_divergence
    assert done.merged == f"{tmp_path / 'export'}/merged"
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"adapter", "merged", "export.json"}


@pytest.mark.parametrize("file", [f"adapter/{ADAPTER}", "merged/model.safetensors"])
@pytest.mark.parametrize(
    "how", [lambda weight: weight + 0.1, lambda weight: weight * torch.nan], ids=["changed", "not a number"]
)
def test_an_export_that_is_not_the_policy_is_refused(
    simple_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, how: Callable[[Tensor], Tensor]
) -> None:
    corrupted(monkeypatch, file, how)
    with pytest.raises(ExportError, match=r"differs from the trained policy.*Nothing was written"):
        export(str(simple_run), str(tmp_path / "export"))
    assert_nothing_at(tmp_path / "export")


def test_an_adapter_without_numbers_is_refused(simple_run: Path, tmp_path: Path) -> None:
    change(simple_run / "adapter" / ADAPTER, lambda weight: weight * torch.nan)
    with pytest.raises(ExportError):
        export(str(simple_run), str(tmp_path / "export"))
    assert_nothing_at(tmp_path / "export")


def test_an_adapter_that_cannot_be_read_is_refused(simple_run: Path, tmp_path: Path) -> None:
    weights_file = simple_run / "adapter" / ADAPTER
    weights_file.write_bytes(weights_file.read_bytes()[: weights_file.stat().st_size // 2])
    with pytest.raises(ModelError, match="does not fit the model"):
        export(str(simple_run), str(tmp_path / "export"))
    assert_nothing_at(tmp_path / "export")


def test_an_adapter_that_lacks_weights_is_refused(simple_run: Path, tmp_path: Path) -> None:
    weights_file = simple_run / "adapter" / ADAPTER
    weights = load_file(weights_file)
    save_file({name: weights[name] for name in sorted(weights)[2:]}, weights_file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="does not fit the model"):
        export(str(simple_run), str(tmp_path / "export"))
    assert_nothing_at(tmp_path / "export")


def test_an_existing_target_is_refused_and_kept(simple_run: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine").write_text("mine")
    with pytest.raises(ExportError, match=r"exists already\. Choose another --target"):
        export(str(simple_run), str(tmp_path / "export"))
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["mine"]


def test_a_run_that_has_not_ended_is_refused(simple_run: Path, tmp_path: Path) -> None:
    (simple_run / "adapter" / ADAPTER).unlink()
    with pytest.raises(CheckpointError, match="training has not ended"):
        export(str(simple_run), str(tmp_path / "export"))
    assert_nothing_at(tmp_path / "export")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run here"):
        export(str(tmp_path / "nowhere"), str(tmp_path / "export"))


def test_each_group_s_own_adapter_is_exported_by_its_name(world: World, tmp_path: Path) -> None:
    spec = world.train_spec("own", runs=str(tmp_path / "runs"), policy="per_group")
    RunFolder.of(spec).claim(spec, INPUTS, resume=False)
    own = ("neutral", "farmer", "professor")
    policy = adapt(load_model(world.model, "float32", "eager"), LoraSpec(rank=4), spec.learner, seed=1, groups=own)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    run = tmp_path / "runs" / "own"
    policy.save(run / "adapter")
    for group, other in (("farmer", "professor"), ("professor", "farmer")):
        export(str(run), group=group)
        merged = logits(load_model(run / f"export-{group}" / "merged", "float32"))
        assert torch.equal(merged, logits(load_adapted(world.model, run / "adapter" / group, "float32")))
        assert not torch.allclose(merged, logits(load_adapted(world.model, run / "adapter" / other, "float32")))
    with pytest.raises(ExportError, match="Choose one with --group: neutral, farmer, professor"):
        export(str(run))
    with pytest.raises(ExportError, match="has no group 'pilot'"):
        export(str(run), group="pilot")


def test_a_shared_adapter_has_no_group(simple_run: Path) -> None:
    with pytest.raises(ExportError, match="Leave --group out"):
        export(str(simple_run), group="farmer")
