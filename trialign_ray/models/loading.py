"""Load a Hugging Face causal LM and its tokenizer, from a local folder, safely.

Weights are safetensors only, and no code that comes with a model is run.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from pydantic import JsonValue
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

from trialign_ray.errors import ModelError
from trialign_ray.models.base import AdaptedLM, CausalLM, StopTokens, Tokenizer
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.wide_products import multiply_bfloat16_in_float32

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
)
_INDEX = "model.safetensors.index.json"
_ADAPTER_CONFIG, _ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(path: str | Path, dtype: str = "bfloat16", attention: str = "sdpa") -> CausalLM:
    """The causal LM at `path`, in evaluation mode. Raises ModelError."""
    folder = _folder(path)
    _weight_files(folder)
    if dtype == "bfloat16":
        multiply_bfloat16_in_float32()
    try:
        loaded = _from_pretrained(folder, dtype, attention)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: not a causal language model that transformers can load: {error}") from error
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        # transformers would start them at random, and only warn.
        raise ModelError(f"{folder}: its weights lack {len(missing)} tensors, '{missing[0]}' first. Save them all.")
    return model.eval()


def _from_pretrained(folder: Path, dtype: str, attention: str) -> tuple[CausalLM, dict[str, set[str]]]:
    """The model and what was found while loading. A family that has no SDPA attention runs its own."""
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except ValueError as error:
        if attention != "sdpa" or "scaled_dot_product_attention" not in str(error):
            raise
        return _from_pretrained(folder, dtype, "eager")
    return cast("tuple[CausalLM, dict[str, set[str]]]", loaded)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the model in `folder`; raises ModelError where one is missing."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"{folder}: no .safetensors file. Save the model with save_pretrained(safe_serialization=True)."
        )
    index = folder / _INDEX
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{index}: is no index of weights: {error!r}. Copy the model's folder again.") from None
        if missing := sorted(shards - {file.name for file in files}):
            raise ModelError(
                f"{folder}: lacks {len(missing)} of {len(shards)} weight files that {_INDEX} names, '{missing[0]}' "
                "first. Copy or download them too."
            )
    return files


def load_adapted(path: str | Path, adapter: str | Path | None, dtype: str = "bfloat16") -> CausalLM:
    """The causal LM at `path` with the PEFT adapter at `adapter` merged into it. Raises ModelError."""
    if adapter is None:
        return load_model(path, dtype)
    # In float32 the product of the adapter's matrices is rounded once, with the sum.
    policy = load_policy(path, adapter, dtype, float32_adapter=True)
    try:
        return policy.merge_and_unload().eval()
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise ModelError(
            f"{adapter}: an adapter of this kind cannot be merged into the model's weights: {error}. Merge it with its "
            "own tools and give the merged model's folder, or use LoRA, rsLoRA or DoRA."
        ) from error


def load_policy(path: str | Path, adapter: str | Path, dtype: str, *, float32_adapter: bool = False) -> AdaptedLM:
    """The causal LM at `path` with the PEFT adapter at `adapter` on it, as in training. Raises ModelError."""
    from peft import PeftModel

    if not (Path(adapter) / _ADAPTER_WEIGHTS).is_file():
        raise ModelError(f"{adapter}: no {_ADAPTER_WEIGHTS}. Give the folder of a PEFT adapter.")
    model = load_model(path, dtype)
    try:
        with warnings.catch_warnings():
            # PEFT starts weights that the file lacks at random, and only warns.
            warnings.filterwarnings("error", "Found missing adapter keys")
            module = cast("PreTrainedModel", model)
            adapted = PeftModel.from_pretrained(module, str(adapter), autocast_adapter_dtype=float32_adapter)
    except (OSError, ValueError, KeyError, RuntimeError, UserWarning, SafetensorError) as error:
        raise ModelError(f"{adapter}: does not fit the model at {path}: {error}") from error
    return cast("AdaptedLM", adapted).eval()


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer at `path`, with its chat template. Raises ModelError."""
    folder = _folder(path)
    try:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: no tokenizer that transformers can load: {error}") from error
    if tokenizer.chat_template is None:
        raise ModelError(f"{folder}: the tokenizer has no chat template, so personas cannot be put into a prompt.")
    return tokenizer


def chat_tokens(path: str | Path, template_arguments: Mapping[str, JsonValue] | None = None) -> ChatTokens:
    """Chat messages as the tokens of the model at `path`, by its template under these arguments. Raises ModelError.

    The tokenizer of some models, Llama 3 and Gemma among them, does not name the token that ends a turn; their
    generation_config.json and their template do.
    """
    folder = _folder(path)
    return ChatTokens(load_tokenizer(folder), _generation_config(folder), template_arguments)


def _generation_config(folder: Path) -> StopTokens | None:
    """The folder's generation configuration; None where there is none."""
    if not (folder / "generation_config.json").is_file():
        return None
    try:
        config: StopTokens = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{folder}/generation_config.json: cannot be read: {error}. Correct it.") from error
    return config


def model_hash(path: str | Path) -> str:
    """SHA-256 over the weight files, names included: what 'the same model' means in logs and caches.

    Raises ModelError where there is no model, or not all of it.
    """
    return _hash(_weight_files(_folder(path)))


def adapter_hash(path: str | Path) -> str:
    """SHA-256 over a PEFT adapter's weights and configuration, which holds their scale. Raises ModelError."""
    files = [Path(path) / name for name in (_ADAPTER_CONFIG, _ADAPTER_WEIGHTS)]
    for file in files:
        if not file.is_file():
            raise ModelError(f"{path}: no {file.name}. Give the folder of a PEFT adapter.")
    return _hash(files)


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 22), b""):
                digest.update(block)
    return digest.hexdigest()


def tokenizer_hash(path: str | Path) -> str:
    """SHA-256 over the files that decide how messages become tokens and where a response ends."""
    digest = hashlib.sha256()
    for name in _TOKENIZER_FILES:
        if (file := _folder(path) / name).is_file():
            digest.update(f"{name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json. Give a folder that holds a Hugging Face model.")
    return folder
