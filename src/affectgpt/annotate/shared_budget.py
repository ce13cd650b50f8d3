"""One budget for several processes: one of them holds it, and the others ask it before each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from affectgpt.annotate.ledger import Ledger
from affectgpt.chat.costs import Budget, Prices, Reserved

Bounds = tuple[float | None, int | None]
"""Most money and most tokens; ``None`` for no bound."""


class Purse:
    """What all processes of a run may still spend together.

    A process that dies leaves what it had reserved, since its request may have been paid for.

    Args:
        total: What is left for the whole pipeline.
        own: Stage to the bounds of its own.
    """

    def __init__(self, total: Bounds, own: Mapping[str, Bounds]) -> None:
        self._total = _budget(total)
        self._own = {stage: _budget(bounds) for stage, bounds in own.items()}

    def take(self, stage: str, wanted: Reserved) -> bool:
        """Reserve an amount for a stage; see ``Budget.take``.

        Raises:
            CostBoundError: If the rest is too small.
        """
        if not self._own[stage].take(wanted):
            return False
        granted = False
        try:
            granted = self._total.take(wanted)
        finally:
            if not granted:
                self._own[stage].give_back(wanted)
        return granted

    def pay(self, stage: str, reserved: Reserved, cost: float, tokens: int) -> None:
        """Count what a request cost; see ``Budget.pay``."""
        for budget in (self._own[stage], self._total):
            budget.pay(reserved, cost, tokens)


class BudgetOfPurse(Budget):
    """The budget of a stage in a process that does not hold the purse.

    Args:
        prices: Of the stage's server.
        stage: The stage's name in the pipeline.
        call: Calls a method of the purse by its name.
    """

    def __init__(self, prices: Prices | None, stage: str, call: Callable[..., Any]) -> None:
        super().__init__(prices)
        self._stage, self._call = stage, call

    def take(self, wanted: Reserved) -> bool:
        """Reserve an amount; see ``Budget.take``."""
        return bool(self._call("take", self._stage, wanted)) and super().take(wanted)

    def pay(self, reserved: Reserved, cost: float, tokens: int) -> None:
        """Count what a request cost."""
        super().pay(reserved, cost, tokens)
        self._call("pay", self._stage, reserved, cost, tokens)


def left_to_spend(ledger: Ledger) -> Bounds:
    """What the bounds of a pipeline leave."""
    bounds, money = ledger.bounds, ledger.money or 0.0
    return (
        None if bounds.cost is None else max(0.0, bounds.cost - money),
        None if bounds.tokens is None else max(0, bounds.tokens - ledger.tokens),
    )


def _budget(bounds: Bounds) -> Budget:
    most, most_tokens = bounds
    return Budget(Prices(0, 0), most, most_tokens)  # amounts come as money
