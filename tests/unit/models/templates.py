"""Chat templates in the shapes of real ones, reworded, over the tiny vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import GenerationConfig, PreTrainedTokenizerFast

from tests.tiny import tiny_tokenizer
from trialign_ray.models.chat_tokens import ChatTokens

_TURNS = "{% if (m.role=='user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must take turns') }}{% endif %}"


@dataclass(frozen=True)
class Shape:
    """A template with the control tokens and stop tokens that models of its kind ship."""

    template: str
    control: tuple[str, ...]
    eos: str
    stops: tuple[str, ...] | None
    """Those of generation_config.json; None where the folder has none."""
    closing: str
    """What ends the assistant's turn."""

    def tokenizer(self) -> PreTrainedTokenizerFast:
        found = tiny_tokenizer()
        found.add_special_tokens({"additional_special_tokens": [*self.control, self.eos]})
        found.add_tokens(["<think>", "</think>", "analysis", "final"])
        found.eos_token = self.eos
        found.chat_template = self.template
        return found


SHAPES = {
    "llama3": Shape(
        "{{ '<|bot|>' }}{% for m in messages %}{{ '<|sh|> '+m.role+' <|eh|>\n\n'+(m.content|trim)+' <|eot_id|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|sh|> assistant <|eh|>\n\n' }}{% endif %}",
        ("<|bot|>", "<|sh|>", "<|eh|>", "<|eot_id|>", "<|eom|>"),
        "<|eotext|>",
        None,
        "<|eot_id|>",
    ),
    "qwen3": Shape(
        "{% for m in messages %}{% if m.role=='assistant' %}{% set c=m.content.split('</think>')[-1]|trim %}"
        "{{ '<|im_start|> assistant\n' }}{% if loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{{ c+' <|im_end|>\n' }}{% else %}{{ '<|im_start|> '+m.role+'\n'+m.content+' <|im_end|>\n' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|> assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{% endif %}",
        (),
        "<|im_end|>",
        ("<|im_end|>", "<|endoftext|>"),
        "<|im_end|>",
    ),
    "gemma": Shape(
        "{% if messages[0].role=='system' %}{{ raise_exception('no system role here') }}{% endif %}"
        "{% for m in messages %}" + _TURNS + "{{ '<sot> '+('model' if m.role=='assistant' else m.role)+'\n'"
        "+(m.content|trim)+' <eot>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<sot> model\n' }}{% endif %}",
        ("<sot>", "<eot>"),
        "<eos>",
        ("<eos>", "<eot>"),
        "<eot>",
    ),
    "mistral": Shape(
        "{% for m in messages %}" + _TURNS + "{% if m.role=='user' %}{{ '[INST] '+m.content+' [/INST]' }}"
        "{% else %}{{ ' '+m.content+' '+eos_token }}{% endif %}{% endfor %}",
        ("[INST]", "[/INST]"),
        "</s>",
        ("</s>",),
        "</s>",
    ),
    "harmony": Shape(
        "{% for m in messages %}{% if m.role=='assistant' %}{{ '<|start|> assistant <|channel|> final <|message|> '"
        "+m.content+(' <|return|>' if loop.last and not add_generation_prompt else ' <|end|>') }}{% else %}"
        "{{ '<|start|> '+('developer' if m.role=='system' else m.role)+' <|message|> '+m.content+' <|end|>' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start|> assistant' }}{% endif %}",
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>"),
        "<|return|>",
        ("<|return|>", "<|call|>"),
        "<|return|>",
    ),
    "phi": Shape(
        "{% for m in messages %}{{ '<|'+m.role+'|> '+m.content+' <|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
        ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
        "<|endoftext|>",
        ("<|endoftext|>", "<|end|>"),
        "<|end|>",
    ),
    "deepseek": Shape(
        "{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role=='system' %}"
        "{% set ns.system = m.content %}{% endif %}{% endfor %}{{ ns.system }}{% for m in messages %}"
        "{% if m.role=='user' %}{{ '<|User|> '+m.content }}{% elif m.role=='assistant' %}"
        "{{ '<|Assistant|> '+m.content.split('</think>')[-1]+' <|eos|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|Assistant|> <think>\n' }}{% endif %}",
        ("<|User|>", "<|Assistant|>"),
        "<|eos|>",
        None,
        "<|eos|>",
    ),
    "without system": Shape(
        "{% for m in messages %}{% if m.role!='system' %}{{ '<|im_start|> '+m.role+'\n'+m.content+' <|im_end|>\n' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|> assistant\n' }}{% endif %}",
        (),
        "<|im_end|>",
        None,
        "<|im_end|>",
    ),
}


def chat(name: str, **arguments: object) -> ChatTokens:
    """The tokens of one shape, as its model's folder would give them."""
    shape = SHAPES[name]
    tokenizer = shape.tokenizer()
    vocabulary = tokenizer.get_vocab()
    stops = None if shape.stops is None else [vocabulary[stop] for stop in shape.stops]
    config = None if stops is None else GenerationConfig(eos_token_id=stops)  # type: ignore[no-untyped-call]
    return ChatTokens(tokenizer, config, arguments)  # type: ignore[arg-type]
