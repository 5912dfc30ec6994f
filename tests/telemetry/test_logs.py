"""A log line is a constant message plus fields: JSON in pods, one readable line for people."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tridentserve.telemetry import logs


@pytest.fixture(autouse=True)
def the_root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines(log_format: str) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(log_format, stream=stream)
    return stream


def test_json_lines_hold_the_message_and_its_fields() -> None:
    stream = lines("json")
    logging.getLogger("tridentserve.x").info("request done", extra={"request": "r1", "steps": 4})

    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "tridentserve.x",
        "message": "request done",
        "request": "r1",
        "steps": 4,
    }


def test_a_value_that_json_has_no_word_for_is_written_as_text() -> None:
    stream = lines("json")
    logging.getLogger("x").info("seen", extra={"what": {1}})

    assert json.loads(stream.getvalue())["what"] == "{1}"


def test_a_traceback_stays_inside_of_its_json_line() -> None:
    stream = lines("json")
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("x").exception("failed")

    (line,) = stream.getvalue().splitlines()
    assert "KeyError: 'k'" in json.loads(line)["traceback"]


def test_text_is_one_line_with_its_fields() -> None:
    stream = lines("text")
    logging.getLogger("tridentserve.x").warning("queue full", extra={"waiting": 7})

    (line,) = stream.getvalue().splitlines()
    assert line.endswith("WARNING tridentserve.x: queue full waiting=7")


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="xml"):
        logs.configure("xml")
