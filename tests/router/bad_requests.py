"""Requests that must be refused, each with its status code and the field that is named.

For a pipeline with `LIMITS` and a model with `MODEL`; the end-to-end tests send the same table
through a cluster that has such limits.
"""

from dataclasses import dataclass, field
from typing import Any

import grpc

from tridentserve.domain.ids import ContentDigest
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.pipeline import Limits
from tridentserve.domain.shapes import Shape
from tridentserve.rpc.v1 import generation_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT

LIMITS = Limits(
    max_pixels=65536, max_frames=1, max_steps=20, max_images=2, max_prompt_characters=200
)
SPEC_LIMITS = {
    "maxPixels": 65536,
    "maxFrames": 1,
    "maxSteps": 20,
    "maxImages": 2,
    "maxPromptCharacters": 200,
}
"""The same, as a DiffusionPipeline writes it."""

MODEL = ModelInfo(
    family="fake",
    digest=ContentDigest("digest"),
    default_shape=Shape(height=64, width=64),
    default_steps=4,
    default_guidance=5.0,
    size_multiple=16,
    negative_prompt=True,
)


@dataclass(frozen=True, kw_only=True)
class BadRequest:
    """One request that must be refused."""

    why: str
    """Name of the case."""
    named: str
    """Named in `BadRequest.field_violations`."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Set over a prompt that is fine."""
    extra: bytes = b""
    """Appended to the serialized request."""
    raw: bytes | None = None
    """Sent in the place of a request."""
    code: grpc.StatusCode = INVALID

    @property
    def data(self) -> bytes:
        """The bytes to send."""
        if self.raw is not None:
            return self.raw
        message = generation_pb2.GenerateRequest(**{"prompt": "a fox", **self.fields})
        return message.SerializeToString() + self.extra


def _bad(why: str, named: str, /, **fields: Any) -> BadRequest:
    return BadRequest(why=why, named=named, fields=fields)


BAD_REQUESTS = (
    _bad("no prompt", "prompt", prompt=""),
    _bad("prompt of blanks", "prompt", prompt=" \t\n"),
    _bad("prompt too long", "prompt", prompt="x" * 201),
    _bad("prompt with NUL", "prompt", prompt="a fox\0 and more"),
    _bad("negative prompt too long", "negative_prompt", negative_prompt="x" * 201),
    _bad("negative prompt with NUL", "negative_prompt", negative_prompt="\0"),
    _bad("negative height", "height", height=-16, width=64),
    _bad("height of 1", "height", height=1),
    _bad("height no multiple", "height", height=100, width=64),
    _bad("lowest height", "height", height=-(2**31)),
    _bad("highest height", "height", height=2**31 - 1),
    _bad("negative width", "width", height=64, width=-64),
    _bad("width no multiple", "width", height=64, width=65),
    _bad("width alone no multiple", "width", width=17),
    _bad("too many pixels, taller", "height", height=4096, width=64),
    _bad("too many pixels, wider", "width", height=64, width=4096),
    _bad("too many pixels, square", "height", height=272, width=272),
    _bad("one step of height too many", "height", height=1040, width=64),
    _bad("huge but a multiple", "width", height=16, width=2**31 - 16),
    _bad("negative frames", "frames", frames=-1),
    _bad("too many frames", "frames", frames=2),
    _bad("negative steps", "steps", steps=-1),
    _bad("too many steps", "steps", steps=21),
    _bad("highest steps", "steps", steps=2**31 - 1),
    _bad("negative guidance", "guidance", guidance=-0.1),
    _bad("guidance not a number", "guidance", guidance=float("nan")),
    _bad("infinite guidance", "guidance", guidance=float("inf")),
    _bad("guidance too high", "guidance", guidance=100.5),
    _bad("negative seed", "seed", seed=-1),
    _bad("lowest seed", "seed", seed=-(2**63)),
    _bad("negative count", "count", count=-1),
    _bad("too many pictures", "count", count=3),
    _bad("negative deadline", "deadline_seconds", deadline_seconds=-1.0),
    _bad("deadline not a number", "deadline_seconds", deadline_seconds=float("nan")),
    _bad("deadline never", "deadline_seconds", deadline_seconds=float("inf")),
    _bad("deadline after a day", "deadline_seconds", deadline_seconds=86_401.0),
    _bad("idempotency key too long", "idempotency_key", idempotency_key="k" * 129),
    _bad("idempotency key with a newline", "idempotency_key", idempotency_key="a\nb"),
    _bad("unknown output format", "output_format", output_format="image/gif"),
    _bad("output format in capitals", "output_format", output_format="IMAGE/PNG"),
    _bad("output format without a type", "output_format", output_format="png"),
    BadRequest(why="unknown field", named="99", extra=b"\x9a\x06\x02hi"),
    BadRequest(why="unknown number", named="14", extra=b"\x70\x01"),
    BadRequest(why="no message", named="request", raw=b"\xff\xff\xff"),
    BadRequest(why="prompt not UTF-8", named="request", raw=b"\x0a\x02\xff\xfe"),
    BadRequest(why="cut off", named="request", raw=b"\x0a\x20a fox"),
)
