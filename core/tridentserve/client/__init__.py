"""A typed client of the GenerationService.

async with GenerationClient("127.0.0.1:8500") as client:
result = await client.generate(Request(prompt="a fox in the snow", seed=7))
Path("fox.png").write_bytes(result.media[0])
"""

from tridentserve.client.generation import GenerationClient, generate
from tridentserve.client.values import (
    Accepted,
    Description,
    Event,
    Finished,
    MediaPiece,
    Request,
    Result,
    StageStarted,
    StageTiming,
    Step,
)

__all__ = [
    "Accepted",
    "Description",
    "Event",
    "Finished",
    "GenerationClient",
    "MediaPiece",
    "Request",
    "Result",
    "StageStarted",
    "StageTiming",
    "Step",
    "generate",
]
