"""The client against a real router inside of the test's process."""

from collections.abc import AsyncIterator

import pytest
from tests.router.conftest import Town, opened

from tridentserve.client import GenerationClient


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    """A town whose router runs, without workers."""
    async with opened() as town:
        yield town


@pytest.fixture
async def client(town: Town) -> AsyncIterator[GenerationClient]:
    """A client of the town's router."""
    async with GenerationClient(town.router.address) as client:
        yield client
