"""A namespace that cannot be served does not cost the others theirs."""

import asyncio

import pytest

from tridentserve.errors import InvalidFieldError, NotFoundError, UnavailableError
from tridentserve_operator import namespaces


class Rights:
    """Lists what it may."""

    def __init__(self, *may: str, down: bool = False) -> None:
        """In these namespaces."""
        self.may, self.down = set(may), down

    async def uids(self, kind: str, namespace: str | None) -> frozenset[str]:
        """Nothing, or the refusal of an API server."""
        if self.down:
            raise UnavailableError("not now")
        if namespace not in self.may:
            raise InvalidFieldError("GET", "forbidden")
        return frozenset()


async def test_what_may_not_be_listed_is_passed_over() -> None:
    assert await namespaces.split(Rights("a", "c"), ("a", "b", "c")) == (("a", "c"), ("b",))


async def test_without_a_list_all_are_served() -> None:
    assert await namespaces.split(Rights(), ()) == ((), ())


async def test_where_none_may_be_listed_that_is_said() -> None:
    with pytest.raises(NotFoundError, match=r"watchNamespaces: .*: a, b"):
        await namespaces.split(Rights(), ("a", "b"))


async def test_an_api_server_that_is_down_takes_no_namespace_away() -> None:
    with pytest.raises(UnavailableError):
        await namespaces.split(Rights(down=True), ("a", "b"))


async def test_one_that_comes_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    rights, looks = Rights(down=True), 0

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        rights.down = looks < 3
        if looks == 5:
            rights.may.add("b")

    monkeypatch.setattr(asyncio, "sleep", sleep)

    with pytest.raises(UnavailableError, match="namespace b"):
        await namespaces.come_back(rights, ("a", "b"))
    assert looks == 5
