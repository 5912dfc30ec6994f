"""The part of a scenario that says what arrives, and by when it should be done."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tridentserve.sim.scenario.fields import Count, Part, Positive, RuleName, ShapeText, one_of
from tridentserve.sim.workload import MIXES, TRACES


class WeightPart(Part):
    """One class of a mix."""

    shape: ShapeText
    weight: Positive = 1.0
    steps: Count | None = None
    """The workload's where left out."""


Mix = Annotated[str, one_of(MIXES)] | Annotated[tuple[WeightPart, ...], Field(min_length=1)]
Variation = Annotated[float, Field(ge=0.01, le=100)]
"""Beyond these bounds gaps are all alike, or all but one in ten thousand are nought."""


class PhasePart(Part):
    """A stretch of time with one kind of load; what it leaves out is the workload's."""

    duration_s: Positive
    rate_per_s: Positive | None = None
    load: Positive | None = None
    process: Literal["Constant", "Poisson", "Gamma"] | None = None
    cv: Variation | None = None
    mix: Mix | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.rate_per_s is not None and self.load is not None:
            raise ValueError("has both rate_per_s and load")
        return self


class WorkloadPart(Part):
    """What arrives: generated, or read from a file, which says all of it itself."""

    trace: Annotated[str, one_of(tuple(TRACES))] | None = None
    """Shapes, steps and rate of a public trace, generated anew."""
    file: str | None = None
    """A file in the public traces' format; `steps` may replace its own."""
    recording: str | None = None
    """A JSONL file, one request a line."""
    shapes: tuple[ShapeText, ...] = ()
    steps: Count | None = None
    rate_per_s: Positive | None = None
    load: Positive | None = None
    """Share of the devices' time that the requests take at least, in place of a rate."""
    process: Literal["Constant", "Poisson", "Gamma"] = "Constant"
    cv: Variation = 3.0
    """Of the gaps of Gamma."""
    mix: Mix = "Medium"
    balanced: bool = True
    guidance: float = 5.0
    phases: tuple[PhasePart, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        sources = [self.trace, self.file, self.recording]
        if sum(one is not None for one in sources) > 1:
            raise ValueError("has more than one of trace, file, recording")
        if self.file or self.recording:
            return self._replayed()
        if self.trace is None and not self.shapes and isinstance(self.mix, str):
            raise ValueError("needs trace, file, recording, or shapes")
        if self.trace is None and self.steps is None:
            raise ValueError("needs steps")
        rates = [self.rate_per_s, self.load]
        if all(one is not None for one in rates):
            raise ValueError("has both rate_per_s and load")
        lacking = [one for one in self.phases if one.rate_per_s is None and one.load is None]
        if self.trace is None and not any(rates) and (lacking or not self.phases):
            raise ValueError("needs rate_per_s or load")
        return self

    def _replayed(self) -> Self:
        source = "file" if self.file else "recording"
        ours = {"file", "steps"} if self.file else {"recording"}
        for name in sorted(self.model_fields_set - ours):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect beside {source}")
        return self


class DeadlinePart(Part):
    """A rule, and the share of requests that it holds for."""

    rule: RuleName
    share: Positive = 1.0
