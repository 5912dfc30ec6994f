"""Captions to the context of the transformer, as `StableDiffusion3Pipeline.encode_prompt` does it.

The pipeline's own function cannot train (it tokenizes twice and repeats for pictures), so this is
its arithmetic again, with one difference: the 256 zero tokens that stand for the third text encoder
come as a single one. See `zeros`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def tokenize(tokenizer: Any, captions: Sequence[str]) -> "Tensor":
    """Token numbers, [captions, max tokens]."""
    ids: Tensor = tokenizer(
        list(captions), padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def encode(encoders: Sequence[Any], ids: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Context and pooled context.

    Returns:
        [captions, max tokens + 1, text width], the last token zero, and [captions, text width].
    """
    import torch

    outputs = [encoder(ids, output_hidden_states=True) for encoder in encoders]
    context = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
    return torch.nn.functional.pad(context, (0, 0, 0, 1)), pooled
