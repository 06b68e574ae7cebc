from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.tiny import tiny_tokenizer
from trialign_ray.config.game import Group, Question
from trialign_ray.envs.local_speaker import LocalSpeaker
from trialign_ray.envs.talk import Ask
from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.models.chat_tokens import ChatTokens

TOKENS = ChatTokens(tiny_tokenizer())


@dataclass
class Echo:
    """Says 'paris .' to everything, and keeps the prompts."""

    prompts: list[Sequence[int]] = field(default_factory=list)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        sampling: Sampling,
        stop_ids: Sequence[int],
        on_progress: Callable[[int], None] | None = None,
    ) -> list[list[Generated]]:
        assert (sampling.temperature, sampling.samples) == (0.0, 1)
        self.prompts += prompts
        ids = TOKENS.response("paris .")
        return [[Generated(ids, [0.0] * len(ids), True)] for _ in prompts]


def test_equal_prompts_are_answered_once_and_each_counts():
    echo = Echo()
    speaker = LocalSpeaker(echo, TOKENS, 8)
    question = Question(question_id="q", text="what ?", references=("paris",))
    asks = [
        Ask(question, Group(name=name), 0, 1, [{"role": "user", "content": text}], 0)
        for name, text in (("neutral", "what ?"), ("farmer", "what ?"), ("nurse", "the city ?"))
    ]
    replies = speaker(asks)
    assert [(reply.text, reply.finish) for reply in replies] == [("paris .", "stop")] * 3
    assert len(echo.prompts) == 2
    assert (speaker.calls, speaker.written) == (3, 9)
