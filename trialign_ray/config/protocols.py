"""How the groups of a question talk. A new protocol is a module of `trialign_ray.envs.protocols` and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

MOST_TURNS = 8


@dataclass(frozen=True, slots=True)
class ProtocolEntry:
    """One protocol: where its code is, and how many turns it takes."""

    import_path: str
    fewest: int = 2
    most: int = MOST_TURNS

    @property
    def turns(self) -> str:
        """The rule in words, for messages."""
        return f"exactly {self.fewest} turn" if self.fewest == self.most else f"{self.fewest} to {self.most} turns"


PROTOCOLS: Mapping[str, ProtocolEntry] = {
    "independent": ProtocolEntry("trialign_ray.envs.protocols.independent:Independent", fewest=1, most=1),
    "self_refine": ProtocolEntry("trialign_ray.envs.protocols.self_refine:SelfRefine"),
    "cooperative": ProtocolEntry("trialign_ray.envs.protocols.cooperative:Cooperative"),
    "debate": ProtocolEntry("trialign_ray.envs.protocols.debate:Debate"),
    "plurality": ProtocolEntry("trialign_ray.envs.protocols.plurality:Plurality"),
    "placebo": ProtocolEntry("trialign_ray.envs.protocols.placebo:Placebo"),
}
"""Name in specifications and logs -> protocol. Each is called without arguments and gives a
`trialign_ray.envs.protocols.base.TurnProtocol`."""


def check_turns(protocol: str, turns: int) -> None:
    """Raise ValueError where the protocol does not take so many turns."""
    entry = PROTOCOLS[protocol]
    if not entry.fewest <= turns <= entry.most:
        raise ValueError(f"protocol '{protocol}' has {entry.turns}, not {turns}; change 'turns' or 'protocol'")


def _known(name: str) -> str:
    if name not in PROTOCOLS:
        raise ValueError(f"'{name}' is no protocol; choose one of {', '.join(PROTOCOLS)}")
    return name


ProtocolName = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(PROTOCOLS)})]

TURNS_OF_PROTOCOL: dict[str, Any] = {
    "oneOf": [
        {
            "required": [] if entry.fewest == 1 else ["protocol", "turns"],
            "properties": {"protocol": {"const": name}, "turns": {"minimum": entry.fewest, "maximum": entry.most}},
        }
        for name, entry in PROTOCOLS.items()
    ]
}
"""What `check_turns` refuses, as JSON Schema; 'protocol' and 'turns' may be absent where the defaults fit."""
