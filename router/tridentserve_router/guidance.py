"""What a run says of requests of the model's own guidance, which costs are kept for.

Families with a negative prompt (SD3) guide without a classifier: where guidance is above 1, every
step runs the transformer twice, and both prompts are encoded. So a request without guidance takes
half as long there, and would drag the estimates of all others down; its seconds are put on the
scale of the model's own guidance first. Where guidance is an input of the transformer (FLUX), such
requests take equally long, and nothing is changed.

It rests on the two passes being all of the time: set-up and the scheduler's own steps are not told
apart.
"""

from tridentserve.domain.model import ModelInfo
from tridentserve.domain.stages import Stage

_LEAST = 1.0
"""Guidance up to which the negative prompt plays no part, as in diffusers."""


def usual_s(seconds: float, stage: Stage, guidance: float, model: ModelInfo | None) -> float:
    """Seconds that a run would have taken with the model's own guidance.

    Args:
        seconds: that it took.
        stage: that ran; decode knows no guidance.
        guidance: of the request.
        model: that ran it; None, where it is not known, changes nothing.
    """
    if model is None or not model.negative_prompt or stage is Stage.DECODE:
        return seconds
    return seconds * _passes(model.default_guidance) / _passes(guidance)


def _passes(guidance: float) -> int:
    return 2 if guidance > _LEAST else 1
