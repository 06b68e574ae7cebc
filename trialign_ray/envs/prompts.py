"""What an agent sees: its own persona and preference, the question, and in later turns its peers' responses."""

from __future__ import annotations

from collections.abc import Sequence

from trialign_ray.config.game import Group, GroupSet, Question

Messages = list[dict[str, str]]


def first_turn(groups: GroupSet, group: Group, question: Question) -> Messages:
    """The deployment prompt: persona, preference, question; no peers."""
    drawn = groups.preference_for(group, question.question_id)
    wish = [] if drawn is None else [drawn[0].explicit if drawn[1] == "explicit" else drawn[0].implicit]
    persona = [group.persona] if group.persona else []
    system = " ".join([groups.system, *persona, *wish])
    return [{"role": "system", "content": system}, {"role": "user", "content": question.text}]


def cooperative_turn(first: Messages, own: str, peers: Sequence[str]) -> Messages:
    """A later turn: the agent sees its peers' responses and answers once more, in its own way.

    Peers are not named: whose answer it is must not matter.
    """
    shown = "\n".join(f"- {response}" for response in peers)
    request = (
        f"Other answers to the same question were:\n{shown}\nNow give your final answer to: {first[-1]['content']}"
    )
    return [*first, {"role": "assistant", "content": own}, {"role": "user", "content": request}]
