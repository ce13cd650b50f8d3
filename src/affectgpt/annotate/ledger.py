"""Adds up what the stages of a run spend, and keeps it below the bounds of the pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from affectgpt.annotate.answer_journal import AnswerJournal
from affectgpt.annotate.pipeline import Pipeline, Step
from affectgpt.annotate.stage import Usage
from affectgpt.chat.costs import CostBoundError, Prices
from affectgpt.errors import ConfigError


class Ledger:
    """What was spent in a folder, by this run and those before it.

    Args:
        pipeline: Its stages hold the prices, it holds the bounds.
        journal: Says what earlier runs spent.

    Attributes:
        bounds: Those of the pipeline.
        own_bounds: Stage to the bounds on its money and tokens in one run that its own arguments set.
        usage: Stage to what it used.
        seconds: Stage to how long its answers took.
        earlier: Stage to what it used before this run.

    Raises:
        ConfigError: If there is a bound on money, and a chat model without prices.
    """

    def __init__(self, pipeline: Pipeline, journal: AnswerJournal) -> None:
        self.bounds = pipeline.spending
        self._prices: dict[str, Prices] = {}
        self.own_bounds = {step.label: _bounds_of(step) for step in pipeline.steps}
        for step in pipeline.steps:
            server = step.stage.server
            if server is not None and server.budget.prices is not None:
                self._prices[step.label] = server.budget.prices
            elif server is not None and self.bounds.cost is not None:
                raise ConfigError(
                    f"budget: cost is {self.bounds.cost:g}, but stage {step.label!r} asks a server and has no prices; "
                    "give prompt_price and answer_price in its args (0 for a server of your own)"
                )
        self._journal = journal
        self.recount()
        self.earlier, self._earlier_answers = dict(self.usage), self._answers

    def recount(self) -> None:
        """Read from the journal what was spent: other processes wrote into it."""
        self.usage, self.seconds, self._answers = self._journal.spent()

    @property
    def answers(self) -> int:
        """Answers that stages gave in this run."""
        return self._answers - self._earlier_answers

    @property
    def tokens(self) -> int:
        """Tokens of all stages, read and written."""
        return sum(usage.input_tokens + usage.output_tokens for usage in self.usage.values())

    @property
    def money(self) -> float | None:
        """Money for all stages that have prices; ``None`` where none has."""
        return self.cost_of(self.usage.items())

    def cost_of(self, usages: Iterable[tuple[str, Usage]]) -> float | None:
        """Money for what stages used; ``None`` where no stage of the pipeline has prices."""
        if not self._prices:
            return None
        priced = ((self._prices[stage], usage) for stage, usage in usages if stage in self._prices)
        return sum(prices.of(usage.input_tokens, usage.output_tokens) for prices, usage in priced)

    def count(self, stage: str, usage: Usage, seconds: float) -> None:
        """Count an answer."""
        self._answers += 1
        self.usage[stage] = self.usage.get(stage, Usage()) + usage
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def allow(self, step: Step) -> None:
        """Tell the chat model of a stage how much it may still spend, before the stage is asked.

        Raises:
            CostBoundError: If nothing is left.
        """
        if step.stage.server is None:
            return
        budget = step.stage.server.budget
        own_cost, own_tokens = self.own_bounds[step.label]
        used, begun = self.usage.get(step.label, Usage()), self.earlier.get(step.label, Usage())
        in_this_run = Usage(0, used.input_tokens - begun.input_tokens, used.output_tokens - begun.output_tokens)
        if self.bounds.cost is not None:
            spent_here = self.cost_of([(step.label, in_this_run)]) or 0.0
            budget.most = _least(own_cost, self.bounds.cost - (self.money or 0.0) + spent_here)
            if budget.most <= 0:
                raise CostBoundError(
                    f"the budget of {self.bounds.cost:g} is spent ({self.money or 0.0:.4f}); what was answered is "
                    "kept: raise the budget of the pipeline, and run again to go on from there"
                )
        if self.bounds.tokens is not None:
            tokens_here = in_this_run.input_tokens + in_this_run.output_tokens
            budget.most_tokens = int(_least(own_tokens, self.bounds.tokens - self.tokens + tokens_here))

    def told(self) -> str:
        """The cost so far, for a line of progress; empty where nothing costs anything."""
        money = self.money
        currency = f" {self.bounds.currency}" if self.bounds.currency else ""
        cost = "" if money is None else f", {money:.2f}{currency}"
        return f", {self.tokens:,} tokens{cost}" if self.tokens else ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of what was spent, by stage."""
        return {
            "tokens": self.tokens,
            "money": self.money,
            "currency": self.bounds.currency,
            "seconds": round(sum(self.seconds.values()), 3),
            "by_stage": {
                stage: {
                    **usage.to_json(),
                    "money": self.cost_of([(stage, usage)]) if stage in self._prices else None,
                    "seconds": round(self.seconds.get(stage, 0.0), 3),
                }
                for stage, usage in self.usage.items()
            },
        }


def _bounds_of(step: Step) -> tuple[float | None, int | None]:
    server = step.stage.server
    return (None, None) if server is None else (server.budget.most, server.budget.most_tokens)


def _least(own: float | None, left: float) -> float:
    return left if own is None else min(own, left)
