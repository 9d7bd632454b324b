"""A plugin in one file: an expectation of this project's own. Copy it to begin one of yours."""

from harness.api import Config, Context, Expectation, Judgement, Verdict, hookimpl


class MinimumHeightConfig(Config):
    """`height`: every node must have reached it by the end of the run."""

    height: int


class MinimumHeight(Expectation[MinimumHeightConfig]):
    """Every node ends the run at this height at least."""

    name = "minimum-height"
    Config = MinimumHeightConfig

    async def evaluate(self, ctx: Context) -> Judgement:
        heights = {name: view.height for name, view in ctx.feed.nodes.items()}
        asked = f"at least {self.config.height} at every node"
        if not heights:
            return Judgement(Verdict.UNKNOWN, "no node was seen", asked)
        lowest = min(heights, key=lambda name: heights[name])
        verdict = Verdict.PASS if heights[lowest] >= self.config.height else Verdict.FAIL
        return Judgement(verdict, f"lowest is {lowest} at {heights[lowest]}", asked, {"heights": heights})


@hookimpl
def harness_expectations() -> list[type[MinimumHeight]]:
    return [MinimumHeight]
