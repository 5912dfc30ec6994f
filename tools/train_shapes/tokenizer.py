"""A CLIP tokenizer for which every word of a caption is one token.

CLIP's tokenizer is a byte-pair encoding: it can have whole words only where a chain of merges
builds each from letters. The vocabulary is the letters, every step of those chains, and the words;
other words fall apart into letters, and what is no letter becomes `UNKNOWN`, which training never
sees.

Surprise: a merge of one word may also apply inside another. Words are therefore added one after
another, each through the merges that are already there: a merge applies only when no earlier one
does, and an earlier word is whole before a later merge gets its turn.
"""

import string
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

START = "<|startoftext|>"
END = "<|endoftext|>"
UNKNOWN = "<|unknown|>"
_END_OF_WORD = "</w>"


def merges_for(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges, in their order, that build each word as a single token."""
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = _apply(merges, word)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _apply(merges, word)
    return merges


def build(words: Sequence[str], max_length: int) -> Any:
    """A `CLIPTokenizer` that pads and truncates to `max_length` tokens, start and end included."""
    from transformers import CLIPTokenizer

    merges = merges_for(words)
    letters = string.ascii_lowercase
    tokens = [START, END, UNKNOWN, *letters, *(letter + _END_OF_WORD for letter in letters)]
    tokens += dict.fromkeys(left + right for left, right in merges)
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,
        unk_token=UNKNOWN,
        model_max_length=max_length,
    )


def _apply(merges: Sequence[tuple[str, str]], word: str) -> list[str]:
    pieces = [*word[:-1], word[-1] + _END_OF_WORD]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while True:
        pairs = list(pairwise(pieces))
        known = [pair for pair in pairs if pair in ranks]
        if not known:
            return pieces
        best = pairs.index(min(known, key=lambda pair: ranks[pair]))
        pieces[best : best + 2] = [pieces[best] + pieces[best + 1]]
