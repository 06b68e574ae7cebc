"""What this library uses of a Hugging Face model and tokenizer, as types of our own.

Whatever has these members fits, a fake in a test too; libraries type them wider, and calls of a model not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedConfig


class Logits(Protocol):
    """Output of a causal LM."""

    logits: Tensor
    """[rows, tokens, vocabulary]; the last `logits_to_keep` tokens where that was asked for."""


class Hidden(Protocol):
    """Output of a causal LM's decoder."""

    last_hidden_state: Tensor
    """[rows, tokens, width]."""


class Decoder(Protocol):
    """A causal LM without its output embedding."""

    def __call__(
        self,
        *,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: object = None,
        use_cache: bool | None = None,
    ) -> Hidden:
        """Hidden states of token ids [rows, tokens]; the mask is handed to the attention implementation as it is."""


class Embedding(Protocol):
    """An output embedding."""

    weight: Tensor
    """[vocabulary, width]."""

    def __call__(self, hidden: Tensor, /) -> Tensor:
        """Logits of hidden states."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name and value of each parameter."""


class CausalLM(Protocol):
    """A `transformers.PreTrainedModel` with a head for causal language modelling."""

    @property
    def config(self) -> PreTrainedConfig:
        """Its architecture."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of its weights."""

    def __call__(
        self,
        *,
        input_ids: Tensor,
        attention_mask: object = None,
        position_ids: Tensor | None = None,
        past_key_values: object = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
    ) -> Logits:
        """Logits of token ids [rows, tokens]: of all, of the last `logits_to_keep`, or of the places [n] it holds."""

    def get_decoder(self) -> Decoder:
        """The model without its output embedding."""

    def get_output_embeddings(self) -> Embedding:
        """The matrix that makes logits of hidden states."""

    def set_attn_implementation(self, name: str, /) -> None:
        """Run attention by the implementation registered under `name`; raises ValueError where it cannot."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Every weight."""

    def named_parameters(self, *, remove_duplicate: bool = True) -> Iterator[tuple[str, nn.Parameter]]:
        """Name and value of each weight; a tied one under its first name only, or under all."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Every weight and buffer that is kept, by name."""

    def modules(self) -> Iterator[nn.Module]:
        """Every module."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether its weights are trained."""

    def train(self, mode: bool = True) -> Self:
        """Training mode, or evaluation mode."""

    def eval(self) -> Self:
        """Evaluation mode: no dropout."""

    def save_pretrained(
        self, folder: str, /, *, safe_serialization: bool, state_dict: dict[str, Tensor] | None = None
    ) -> None:
        """Write the model's folder; an adapted model writes the adapter alone. state_dict: its weights elsewhere."""


class AdaptedLM(CausalLM, Protocol):
    """A `peft.PeftModel`: a causal LM with an adapter on it."""

    def get_base_model(self) -> CausalLM:
        """The causal LM, whose layers hold the adapter's."""

    def disable_adapter(self) -> AbstractContextManager[None]:
        """Within it the model is as it came, without the adapter."""

    def add_adapter(self, name: str, config: object, /, *, autocast_adapter_dtype: bool) -> None:
        """Put another fresh adapter beside those that it has."""

    def set_adapter(self, name: str, /) -> None:
        """Switch to another of its adapters, and freeze all but that."""

    def save_pretrained(
        self,
        folder: str,
        /,
        *,
        safe_serialization: bool,
        state_dict: dict[str, Tensor] | None = None,
        selected_adapters: list[str] | None = None,
    ) -> None:
        """Write the adapters alone: 'default' into the folder, others into folders in it by their names."""

    def merge_and_unload(self) -> CausalLM:
        """The causal LM with the adapter's product added to its weights."""

    def enable_input_require_grads(self) -> None:
        """Give the embedding's output a gradient, which activation checkpointing asks for."""

    def gradient_checkpointing_enable(self, *, gradient_checkpointing_kwargs: dict[str, bool]) -> None:
        """Recompute each layer in the backward."""


class AddedToken(Protocol):
    """A `tokenizers.AddedToken`."""

    special: bool
    """Whether it controls: it is never text."""


class Tokenizer(Protocol):
    """A `transformers.PreTrainedTokenizer`."""

    @property
    def chat_template(self) -> object:
        """None where there is none."""

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a sequence."""

    def __len__(self) -> int:
        """Number of token ids, added tokens included."""

    def get_vocab(self) -> dict[str, int]:
        """Token -> id."""

    def encode(self, text: str, /, *, add_special_tokens: bool) -> Iterable[int]:
        """Token ids of a text."""

    def decode(self, ids: list[int], /, *, skip_special_tokens: bool) -> object:
        """Text of token ids."""

    def convert_ids_to_tokens(self, token_id: int, /) -> object:
        """The token of an id."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """Id -> token, of those that are not the vocabulary's own."""

    def get_added_vocab(self) -> dict[str, int]:
        """Token -> id, of those that are not the vocabulary's own."""

    def apply_chat_template(self, messages: list[dict[str, str]], /, *_: Any, **arguments: Any) -> object:
        """A mapping with the chat messages' token ids as 'input_ids', their text under `tokenize=False`.

        Other arguments are `return_dict`, `add_generation_prompt` and whatever the template reads. Raises
        jinja2.TemplateError or ValueError where the template refuses the messages.
        """

    def save_pretrained(self, folder: str, /) -> object:
        """Write the tokenizer's files."""


class StopTokens(Protocol):
    """A `transformers.GenerationConfig`."""

    @property
    def eos_token_id(self) -> int | list[int] | None:
        """Tokens at which generation ends."""
