"""Two calls: the control's prompt is answered, then the answer is put into the form that the person wants.

After Pref-Aligner (arXiv 2509.19358), whose second call is a model of its own; here it is the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trialign_ray.config.game import GroupSet, Question
from trialign_ray.envs.references.base import ask_of, asks_of
from trialign_ray.envs.talk import Ask, Speaker


def answer_then_restyle(groups: GroupSet, questions: Sequence[Question], speaker: Speaker) -> list[Ask]:
    """A `Reference`. Each person's request takes both calls: nobody else's first answer is at hand in deployment.

    The control has no wish and no profile; its first answer is restyled like the others'.
    """
    asks = asks_of(groups, questions)
    neutral = [replace(ask_of(groups, groups.groups[0], ask.question), group=ask.group) for ask in asks]
    return [_restyle(ask, reply.text) for ask, reply in zip(asks, speaker(neutral), strict=True)]


def _restyle(ask: Ask, answer: str) -> Ask:
    """The person's own prompt, whose last message asks for `answer` in another form."""
    *before, last = ask.messages
    request = f"{last['content']}\nThe answer is: {answer}\nGive this answer in the form that suits me. Change no fact."
    return replace(ask, messages=[*before, {"role": last["role"], "content": request}])
