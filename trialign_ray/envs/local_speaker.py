"""A model of this process as the one who answers a game's prompts, greedily."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.envs.talk import Ask
from trialign_ray.inference.base import Generator, Sampling
from trialign_ray.models.chat_tokens import ChatTokens


@dataclass(slots=True)
class LocalSpeaker:
    """Implements `Speaker`, and counts what it was asked."""

    generator: Generator
    tokens: ChatTokens
    max_new_tokens: int
    on_progress: Callable[[int], None] | None = None
    calls: int = 0
    """Prompts answered so far."""
    written: int = 0
    """Tokens of the responses so far, end of turn included."""

    def __call__(self, asks: Sequence[Ask]) -> list[ChatReply]:
        """The replies in order; raises DataError where the chat template refuses a prompt."""
        prompts = [tuple(self.tokens.prompt(ask.messages)) for ask in asks]
        # Greedy decoding looks at the prompt alone, so equal prompts are answered once; each counts as a call.
        different = list(dict.fromkeys(prompts))
        sampling, seeds = Sampling(self.max_new_tokens), [[0] for _ in different]
        out = self.generator.generate(different, seeds, sampling, self.tokens.stop_ids, self.on_progress)
        answered = {prompt: responses[0] for prompt, responses in zip(different, out, strict=True)}
        found = [answered[prompt] for prompt in prompts]
        self.calls += len(found)
        self.written += sum(len(each.ids) for each in found)
        return [
            ChatReply(self.tokens.decode(each.ids), "stop" if each.finished else "length", "", ids=each.ids)
            for each in found
        ]
