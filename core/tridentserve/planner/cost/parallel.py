"""What several devices do to a step that was only ever measured on one.

    seconds(n, strategy) = seconds(n, one device) / parts + communication(n, strategy, link)

`parts` are ulysses x ring, and cfg where guidance runs the transformer twice: splitting a guidance
that is an input of the model gains nothing. Each layer of an Ulysses group of u sends queries,
keys, values and the result, each 1/parts of the sequence, of which (u - 1) / u leave the device; a
ring of r passes keys and values on r - 1 times. Nothing of it is hidden behind computing. Fitted to
the paper's tables (`link` of the shipped profiles) the mean error is 5 to 23 % by pipeline, most of
it at small pictures, where it is too hopeful.
"""

from tridentserve.domain.architecture import Architecture
from tridentserve.domain.profiles import Link
from tridentserve.domain.strategy import Strategy

_BYTES_PER_VALUE = 2


def sequence_degree(strategy: Strategy) -> int:
    """Devices among which the tokens of one sequence are split."""
    return strategy.ulysses * strategy.ring


def parts(strategy: Strategy, *, guided: bool) -> int:
    """Devices among which the work of a step is split."""
    return sequence_degree(strategy) * (strategy.cfg if guided else 1)


def communication_s(
    architecture: Architecture, link: Link, tokens: int, strategy: Strategy, *, guided: bool
) -> float:
    """Seconds that one step spends on exchanging activations; 0 on one device.

    Args:
        architecture: layers and width of the transformer.
        link: between the devices of the group.
        tokens: of all sequences of the step together: the batch, and both branches of guidance.
        strategy: how the step is split.
        guided: whether a step has two branches.
    """
    share = tokens / parts(strategy, guided=guided) * architecture.width * _BYTES_PER_VALUE
    calls, volume = 0.0, 0.0
    if strategy.ulysses > 1:
        calls += 4
        volume += 4 * share * (strategy.ulysses - 1) / strategy.ulysses
    if strategy.ring > 1:
        calls += strategy.ring - 1
        volume += 2 * share * (strategy.ring - 1)
    return architecture.layers * (calls * link.latency_s + volume / link.bytes_per_s)
