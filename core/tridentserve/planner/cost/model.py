"""The cost model as planners ask it and drivers correct it.

One call costs set-up, the first call's warm-up where the caller says that it is one, the steps, and
a tail: `(mean, q90, peak bytes, confidence)`. Answers come from cells, corrected and told
(`book`), else from what is near (`guessing`).

A repeated question is a look-up. Where what is told changes, `version` grows and the answers of
that stage are worked out anew, so whoever keeps answers compares versions. Nothing here reads a
clock, and nothing tells workers apart unless asked to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tridentserve.domain.fractions import Fraction
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.profiles import Estimate, Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.work import pictures
from tridentserve.planner.cost import handoff, sharing
from tridentserve.planner.cost.book import Book
from tridentserve.planner.cost.cells import CellKey
from tridentserve.planner.cost.correction import WorkerRatio
from tridentserve.planner.cost.guessing import Guesser

_Z90 = 1.2816
"""90 % quantile of the normal distribution."""
_WORKERS_LIMIT = 4096
_ANSWERS_LIMIT = 50_000
_NO_PROFILE = Profile(name="", source="", samples=())

_Question = tuple[Shape, int, int, int, Strategy, bool, bool]


class CostModel:
    """Mutable and on-line: a profile to begin with, corrected by every measurement."""

    def __init__(
        self,
        profile: Profile | None = None,
        largest_percent: Mapping[Stage, int] | None = None,
    ) -> None:
        """Start from a profile, or from nothing.

        Args:
            profile: fills the cells, and says how the model's time grows.
            largest_percent: the largest fraction of each stage, at which the best end-to-end time
                is meant; 100 where a stage is left out.
        """
        self.profile = profile or _NO_PROFILE
        self._largest = dict.fromkeys(STAGES, 100) | dict(largest_percent or {})
        self._book = Book(self.profile)
        self._workers: dict[WorkerId, WorkerRatio] = {}
        self._answers: dict[Stage, dict[_Question, Estimate | None]] = {s: {} for s in STAGES}
        self._guessers: dict[Stage, Guesser] = {}
        self._version = 0

    @property
    def version(self) -> int:
        """Grows whenever `estimate` may answer otherwise than before."""
        return self._version

    def observe(
        self,
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction_percent: int,
        seconds: float,
        batch: int = 1,
        *,
        strategy: Strategy = SINGLE,
        worker: WorkerId | None = None,
    ) -> None:
        """Take over how long one call took, all of its batch together.

        What cannot be (no seconds, no steps, a negative number, not a number) teaches nothing.
        """
        if not 0 < seconds < float("inf") or min(fraction_percent, batch) < 1:
            return
        if stage is Stage.DIFFUSE and steps < 1:
            return
        if worker is not None:
            told = self.estimate(stage, shape, steps, fraction_percent, batch, strategy=strategy)
            self._observe_worker(worker, seconds, told)
        key = CellKey(
            shape=shape, fraction_percent=fraction_percent, batch=batch, strategy=strategy
        )
        peak_bytes = 0
        if not self._book.knows(stage, key):
            # What was told of its bytes holds on, else the new cell would say 0.
            told = self.estimate(stage, shape, steps, fraction_percent, batch, strategy=strategy)
            peak_bytes = 0 if told is None else told.peak_bytes
        for changed in self._book.teach(stage, key, steps, seconds, peak_bytes):
            self._answers[changed].clear()
            self._guessers.pop(changed, None)
            self._version += 1

    def estimate(
        self,
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction_percent: int,
        batch: int = 1,
        *,
        strategy: Strategy = SINGLE,
        guidance: bool = True,
        first_shape: bool = False,
        worker: WorkerId | None = None,
    ) -> Estimate | None:
        """Seconds and peak of one call; None where nothing is known of the stage.

        Args:
            stage: the stage that runs.
            shape: of every picture of the batch.
            steps: denoising steps; ignored but for diffuse.
            fraction_percent: share of each device.
            batch: pictures that one call makes, of whatever requests.
            strategy: how the call uses its devices.
            guidance: False for a request without it; halves diffuse of a guided model.
            first_shape: True for a worker's first call of the shape.
            worker: who runs it, to account for its speed against the others.
        """
        answers = self._answers[stage]
        question = (shape, steps, fraction_percent, batch, strategy, guidance, first_shape)
        if question in answers:
            answer = answers[question]
        else:
            if len(answers) >= _ANSWERS_LIMIT:
                answers.clear()
            answer = answers[question] = self._answer(stage, question)
        if worker is None or answer is None or worker not in self._workers:
            return answer
        factor = self._workers[worker].factor
        return replace(answer, mean_s=answer.mean_s * factor, q90_s=answer.q90_s * factor)

    def shared(
        self,
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction: Fraction,
        *,
        beside: Iterable[Stage] = (),
        strategy: Strategy = SINGLE,
    ) -> Estimate | None:
        """Seconds of one call on a share of its devices while `beside` run there as well."""
        alone = self.estimate(stage, shape, steps, fraction.compute_percent, strategy=strategy)
        if alone is None:
            return None
        saturation = dict(self.profile.saturation).get(stage)
        factors = sharing.factors(self.profile.interference, stage, beside)
        return sharing.shared(alone, fraction, saturation, factors)

    def strategies(self, stage: Stage, shape: Shape) -> tuple[Strategy, ...]:
        """Those that the profile or measurements know something of, by ascending degree.

        One device comes first, always. A shape that the profile lacks has those of its
        neighbours by volume as well.
        """
        return self._book.strategies(stage, shape)

    def fastest(self, stage: Stage, shape: Shape, steps: int) -> Estimate | None:
        """The best over all strategies, at the stage's largest fraction."""
        fraction = self._largest[stage]
        found = (
            self.estimate(stage, shape, steps, fraction, strategy=strategy)
            for strategy in self.strategies(stage, shape)
        )
        return min(
            (one for one in found if one is not None), key=lambda one: one.mean_s, default=None
        )

    def request(
        self, shape: Shape, steps: int, count: int = 1, first: Stage = Stage.ENCODE
    ) -> Estimate | None:
        """Seconds of a request from `first` to its end, alone, at the largest fractions.

        None where a stage is wholly unknown. Quantiles are added, which is on the safe side.

        Args:
            shape: of its pictures.
            steps: of each.
            count: pictures.
            first: stage that is not done.
        """
        parts = [
            self.estimate(stage, shape, steps, self._largest[stage], pictures(stage, count))
            for stage in STAGES[STAGES.index(first) :]
        ]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return Estimate(
            mean_s=sum(part.mean_s for part in known),
            q90_s=sum(part.q90_s for part in known),
            peak_bytes=max(part.peak_bytes for part in known),
            confidence=min(part.confidence for part in known),
        )

    def deadline(
        self, shape: Shape, steps: int, slo_scale_percent: int, count: int = 1
    ) -> float | None:
        """Seconds that a request may take: the scale times the best end-to-end time.

        None while a stage is wholly unknown: there is nothing yet to promise.
        """
        best = self.request(shape, steps, count)
        return None if best is None else best.mean_s * slo_scale_percent / 100

    def handoff_s(self, store: str, nbytes: int) -> float:
        """Seconds of passing tensors on; see `handoff`."""
        return handoff.handoff_s(store, nbytes)

    def _answer(self, stage: Stage, question: _Question) -> Estimate | None:
        shape, steps, fraction_percent, batch, strategy, guidance, first_shape = question
        guesser = self._guessers.get(stage)
        if guesser is None:
            guesser = Guesser(stage, self._book.told(stage), self.profile)
            self._guessers[stage] = guesser
        asked = CellKey(
            shape=shape, fraction_percent=fraction_percent, batch=batch, strategy=strategy
        )
        guess = guesser.guess(asked)
        if guess is None:
            return None
        if stage is Stage.DIFFUSE and self.profile.guided and not guidance:
            guess = guess.further(0.5, peak_factor=0.5)
        cell, times = guess.cell, steps if stage is Stage.DIFFUSE else 1
        mean_s = cell.fixed_s + times * cell.mean_s
        if first_shape:
            mean_s += dict(self.profile.first_shape_s).get(stage, 0.0)
        return Estimate(
            mean_s=mean_s,
            q90_s=mean_s + _Z90 * cell.deviation_s * times,
            peak_bytes=cell.peak_bytes,
            confidence=guess.confidence,
        )

    def _observe_worker(self, worker: WorkerId, seconds: float, told: Estimate | None) -> None:
        if told is None or told.mean_s <= 0:
            return
        before = self._workers.pop(worker, None) or WorkerRatio()
        self._workers[worker] = after = before.observed(seconds, told.mean_s)
        if len(self._workers) > _WORKERS_LIMIT:
            del self._workers[next(iter(self._workers))]
        if abs(after.factor - before.factor) > 0.01:
            self._version += 1
