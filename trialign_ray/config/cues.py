"""How a group reaches the model. A new cue is a module of `trialign_ray.envs.cues` and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, Imported, OneOf

Line = Annotated[str, Field(min_length=1, max_length=1000)]


class PersonaCue(Strict):
    """A sentence about the person behind the system message: the group's `persona`, and the wish behind it."""

    kind: Literal["persona"] = "persona"


class ProfileCue(Strict):
    """A list of what is known of the person, in the system message; the wish is one of its lines."""

    kind: Literal["profile"] = "profile"
    known: dict[Line, Line] = Field(min_length=1)
    """What is known, 'Occupation' -> 'nurse', in this order."""


class BiographyCue(Strict):
    """The person's life in prose, in the system message; the wish is its last sentence."""

    kind: Literal["biography"] = "biography"
    text: str = Field(min_length=1, max_length=4000)


class NameCue(Strict):
    """Nothing but a name, with which the person begins."""

    kind: Literal["name"] = "name"
    name: str = Field(min_length=1, max_length=80)


class Exchange(Strict):
    """One earlier turn of the person, and what the assistant answered."""

    user: Line
    assistant: Line


class DialogueCue(Strict):
    """Earlier turns of the same dialogue, from which one can tell who asks."""

    kind: Literal["dialogue"] = "dialogue"
    turns: tuple[Exchange, ...] = Field(min_length=1, max_length=16)


class BeliefCue(Strict):
    """What the person believes, said before the question. The truth must not follow it."""

    kind: Literal["belief"] = "belief"
    statement: Line
    """'{misbelief}' in it stands for the question's wrong answer, '{truth}' for its right one."""
    otherwise: Line | None = None
    """What is said instead where the question lacks the answer that the statement names."""


class SystemCue(Strict):
    """Several system messages, as assistants have them whose prompt is put together from parts."""

    kind: Literal["system"] = "system"
    messages: tuple[Line, ...] = Field(min_length=1, max_length=16)
    """Behind the group set's own, one system message each; the wish is in the last."""


class ImportedCue(Imported):
    """A cue of the user's own; its module has to be listed in TRIALIGN_TRUSTED_MODULES, as for preference rules."""

    kind: Literal["import_path"] = "import_path"


CUE_KINDS: dict[str, Entry] = {
    "persona": Entry(PersonaCue, "trialign_ray.envs.cues.persona:Persona"),
    "profile": Entry(ProfileCue, "trialign_ray.envs.cues.profile:Profile"),
    "biography": Entry(BiographyCue, "trialign_ray.envs.cues.biography:Biography"),
    "name": Entry(NameCue, "trialign_ray.envs.cues.name:Name"),
    "dialogue": Entry(DialogueCue, "trialign_ray.envs.cues.dialogue:Dialogue"),
    "belief": Entry(BeliefCue, "trialign_ray.envs.cues.belief:Belief"),
    "system": Entry(SystemCue, "trialign_ray.envs.cues.system:System"),
}
"""Kind -> what builds its messages. Each is called with the cue's fields and gives an `envs.cues.base.Cue`."""

CueSpec = Annotated[Strict, OneOf(CUE_KINDS, "kind", ImportedCue)]
