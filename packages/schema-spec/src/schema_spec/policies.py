"""How a table may evolve, from the least to the most generous."""

from __future__ import annotations

from typing import Final, Literal, get_args

EvolutionPolicy = Literal["strict", "additive", "widening", "any"]
POLICIES: Final[tuple[EvolutionPolicy, ...]] = get_args(EvolutionPolicy)
