"""The simulator against queueing theory, where that has an answer."""

from math import factorial

import pytest
from tests.sim.worlds import SHAPE, play, scenario

from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.sim.randomness import Noise, stream
from tridentserve.sim.workload import Ask, Phase, ShareOf, generate

TINY_S = 1e-6
REQUESTS = 4_000


def single_stage(seconds: float) -> Profile:
    """Only encode takes time worth mentioning."""
    times = {Stage.ENCODE: seconds, Stage.DIFFUSE: TINY_S, Stage.DECODE: TINY_S}
    samples = tuple(
        Sample(stage=stage, shape=SHAPE, fixed_s=times[stage], step_s=TINY_S) for stage in STAGES
    )
    return Profile(name="one", source="test", samples=samples, steps=1)


def poisson(rate_per_s: float, seed: int) -> tuple[Ask, ...]:
    phase = Phase(
        duration_s=REQUESTS / rate_per_s,
        rate_per_s=rate_per_s,
        mix=(ShareOf(shape=SHAPE, steps=1, weight=1.0),),
        process="Poisson",
    )
    return generate([phase], seed)


def waits(servers: int, load: float, spread: float) -> float:
    """Mean wait for encode, in units of its time, with Poisson arrivals."""
    pools = [
        {"stages": ["encode"], "devices": 1, "workers": servers},
        {"stages": ["diffuse"], "devices": 1, "workers": 4},
        {"stages": ["decode"], "devices": 1, "workers": 4},
    ]
    given = scenario(
        placement={"pools": pools},
        cluster={"nodes": 2, "devices_per_node": 8},
        duration_s=1e9,
        world={"noise": spread},
    )
    result = play(given, poisson(load * servers, 3), Fifo(), single_stage(1.0))
    return sum(one.waited_s[0] for one in result.records) / len(result.records)


def pollaczek_khinchine(load: float, cv2: float) -> float:
    return load / (1 - load) * (1 + cv2) / 2


def erlang_c(servers: int, load: float) -> float:
    offered = servers * load
    last = offered**servers / factorial(servers) / (1 - load)
    return last / (sum(offered**n / factorial(n) for n in range(servers)) + last)


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_one_server_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    assert waits(1, load, 0.0) == pytest.approx(pollaczek_khinchine(load, 0.0), rel=0.08)


def test_several_servers_wait_about_half_as_long_as_erlang_says_for_exponential_times() -> None:
    """M/D/c: the wait of M/M/c times (1 + cv^2) / 2, which is good within some percent."""
    servers, load = 3, 0.7
    exponential = erlang_c(servers, load) / (servers * (1 - load))
    assert waits(servers, load, 0.0) == pytest.approx(exponential / 2, rel=0.1)


def test_noise_has_mean_one_and_the_spread_that_was_asked_for() -> None:
    noise = Noise(7, 0.05)
    factors = [noise.factor(f"r{index}", "encode") for index in range(4000)]
    mean = sum(factors) / len(factors)
    deviation = (sum((one - mean) ** 2 for one in factors) / len(factors)) ** 0.5
    assert mean == pytest.approx(1.0, abs=0.003)
    assert deviation == pytest.approx(0.05, rel=0.05)
    assert stream(1, "a").random() != stream(1, "b").random()


def test_noise_of_a_name_is_the_same_whatever_was_asked_for_before() -> None:
    noise = Noise(7, 0.05)
    first = noise.factor("r1", "encode")
    noise.factor("r2", "encode")
    assert noise.factor("r1", "encode") == first == Noise(7, 0.05).factor("r1", "encode")
    assert first != Noise(8, 0.05).factor("r1", "encode")
