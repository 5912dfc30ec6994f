"""Worker events to caller events without taking them apart.

A `RunEvent` and a `GenerateEvent` hold exactly one field, and the fields that pass through (step
progress, media chunks) hold the same bytes on both sides, so that replacing the tag in front turns
one message into the other: 1 MB of media costs one copy instead of a parse and a serialization.
Importing this module fails where the two protocols no longer allow it.
"""

from collections.abc import Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tridentserve.rpc.v1 import generation_pb2, stage_pb2

_LENGTH_DELIMITED = 2
_LAST_NUMBER_OF_ONE_BYTE = 15


def _tag(message: Descriptor, field: str) -> int:
    number = message.fields_by_name[field].number
    if number > _LAST_NUMBER_OF_ONE_BYTE:
        raise ImportError(f"{message.full_name}.{field}: its tag no longer fits one byte")
    return number << 3 | _LENGTH_DELIMITED


def _layout(message: Descriptor) -> dict[int, tuple[int, bool]]:
    return {field.number: (field.type, field.is_repeated) for field in message.fields}


def _inner(message: Descriptor, field: str) -> Descriptor:
    found = message.fields_by_name[field]
    if found.type != FieldDescriptor.TYPE_MESSAGE or found.message_type is None:
        raise ImportError(f"{found.full_name} is no message")
    return found.message_type


_RUN = stage_pb2.RunEvent.DESCRIPTOR
_GENERATE = generation_pb2.GenerateEvent.DESCRIPTOR

FINISHED = _tag(_RUN, "finished")


def _forwarded() -> Mapping[int, bytes]:
    table = {}
    for run_field, generate_field in (("progress", "step"), ("media", "media")):
        if _layout(_inner(_RUN, run_field)) != _layout(_inner(_GENERATE, generate_field)):
            raise ImportError(f"RunEvent.{run_field} and GenerateEvent.{generate_field} differ")
        table[_tag(_RUN, run_field)] = bytes([_tag(_GENERATE, generate_field)])
    return table


_FORWARDED = _forwarded()


def forward(run_event: bytes) -> bytes | None:
    """The `GenerateEvent` of a `RunEvent`, both serialized; None where callers are not told of it.

    >>> event = stage_pb2.RunEvent(progress=stage_pb2.StepProgress(step=3, steps=28))
    >>> generation_pb2.GenerateEvent.FromString(forward(event.SerializeToString())).step.step
    3
    """
    tag = _FORWARDED.get(run_event[0]) if run_event else None
    return tag + run_event[1:] if tag is not None else None


def is_finished(run_event: bytes) -> bool:
    """Whether a serialized `RunEvent` is the last one."""
    return run_event[:1] == _FINISHED


_FINISHED = bytes([FINISHED])
