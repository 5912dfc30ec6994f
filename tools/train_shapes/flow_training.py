"""Trains the text encoders and the transformer together, by flow matching.

A picture's latents x and noise n are mixed to (1 - s) x + s n, and the transformer learns to say
n - x: the velocity along which `FlowMatchEulerDiscreteScheduler` takes its steps (Lipman et al.,
Flow Matching for Generative Modeling, 2023; Esser et al., Scaling Rectified Flow Transformers,
2024). Noise levels are those that the scheduler visits, as often as it does: each step of a drawing
counts the same.

One caption in ten is replaced by an empty one, which is the pipeline's negative prompt: guidance
needs to know what a picture looks like when nothing is said about it.

What is kept for use is not the last weights but their running mean.
"""

import copy
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from train_shapes import data, latents, model, text, zeros
from train_shapes.optimizers import Optimizers
from train_shapes.schedule import learning_rate
from train_shapes.settings import Batch, Recipe
from train_shapes.workers import Worker

if TYPE_CHECKING:
    from torch import Generator, Tensor


class FlowTask:
    """See `loop.Task`."""

    name = "flow"

    def __init__(self, recipe: Recipe, vae: Any, worker: Worker) -> None:
        """Start from random weights; `vae` must know its scaling and is not changed."""
        import torch

        torch.manual_seed(recipe.seed)
        self._recipe, self._vae, self._worker = recipe, vae, worker
        self.steps = recipe.flow.steps
        self._tokenizer = model.build_tokenizer(recipe.model)
        self._empty = text.tokenize(self._tokenizer, [""])
        self._net = _network(recipe)
        self.mean = copy.deepcopy(self._net).requires_grad_(False)
        self._optimizers = Optimizers(self._net, weight_decay=recipe.flow.weight_decay)
        self._pools: dict[Batch, latents.Pool] = {}
        self._epoch = -1
        self._predict = torch.compile(predict, dynamic=False) if recipe.flow.compiled else predict

    def step(self, number: int) -> dict[str, float]:
        """One batch, of which each worker takes its share."""
        import torch

        settings, worker = self._recipe.flow, self._worker
        self._fill(number // settings.steps_an_epoch)
        rng = random.Random(f"flow {self._recipe.seed} {number}")
        batch = data.choose(settings.batches, rng)
        noise = torch.Generator().manual_seed(rng.getrandbits(62) + worker.rank)
        loss, weighted = self._loss(batch, noise)
        self._net.zero_grad()
        weighted.backward()
        worker.average_gradients(self._net.parameters())
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._optimizers.step(
            learning_rate(
                number,
                peak=settings.learning_rate,
                warmup_steps=settings.warmup_steps,
                steps=settings.steps,
            )
        )
        self._follow(number)
        return {"loss": loss.item(), "side": batch.side}

    def state(self) -> Mapping[str, Any]:
        """Weights, their mean, and the optimizer's memory."""
        return {
            "net": self._net.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizers": self._optimizers.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """The reverse."""
        self._net.load_state_dict(state["net"])
        self.mean.load_state_dict(state["mean"])
        self._optimizers.load_state_dict(state["optimizers"])

    def _fill(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._pools = latents.fill(
                self._recipe.flow,
                self._vae,
                self._tokenizer,
                share=1 / self._worker.count,
                seed=f"{self._recipe.seed} {epoch} {self._worker.rank}",
            )
            self._epoch = epoch

    def _loss(self, batch: Batch, generator: "Generator") -> Any:
        import torch

        settings = self._recipe.flow
        count = max(1, batch.count // self._worker.count)
        clean, ids, things = self._pools[batch].draw(count, generator)
        dropped = torch.rand(count, 1, generator=generator) < settings.caption_dropout
        ids = torch.where(dropped, self._empty, ids)
        levels = _noise_levels(count, self._recipe.model.shift, generator)
        noise = torch.randn(clean.shape, generator=generator)
        share = levels[:, None, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            velocity = self._predict(self._net, (1 - share) * clean + share * noise, ids, levels)
        error = (velocity.float() - (noise - clean)).square()
        # Where noise hides the thing itself, weight would draw things wherever one may be.
        return error.mean(), (error * (1 + settings.thing_weight * (1 - share) * things)).mean()

    def _follow(self, number: int) -> None:
        """Move the running mean; it starts fast, so that the first random weights are forgotten."""
        import torch

        decay = min(self._recipe.flow.ema_decay, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.mean.parameters()), list(self._net.parameters()), 1 - decay
            )


def _noise_levels(count: int, shift: float, generator: "Generator") -> "Tensor":
    """Evenly spread over a drawing's steps, by one random number: few levels are far from all."""
    import torch

    even = (torch.arange(count) + torch.rand(1, generator=generator)) / count
    return shift * even / (1 + (shift - 1) * even)


def predict(net: Any, mixed: "Tensor", ids: "Tensor", levels: "Tensor") -> "Tensor":
    """Velocities at noise levels between 0 and 1."""
    context, pooled = text.encode(net["texts"], ids)
    velocity: Tensor = net["transformer"](
        hidden_states=mixed,
        encoder_hidden_states=context,
        pooled_projections=pooled,
        timestep=levels * 1000,
        return_dict=False,
    )[0]
    return velocity


def _network(recipe: Recipe) -> Any:
    """What is trained, as one module."""
    import torch

    texts = [model.text_encoder(recipe.model, settings) for settings in recipe.model.texts]
    transformer = model.transformer(recipe.model)
    for encoder in texts:
        # Fused attention takes much longer to go backward on the CPU.
        encoder.set_attn_implementation("eager")
        embeddings = encoder.text_model.embeddings
        for table in (embeddings.token_embedding, embeddings.position_embedding):
            torch.nn.init.normal_(table.weight, std=0.3)
    zeros.install(transformer)
    _start_as_identity(transformer)
    return torch.nn.ModuleDict(
        {"texts": torch.nn.ModuleList(texts), "transformer": transformer}
    ).train()


def _start_as_identity(transformer: Any) -> None:
    """Blocks that first do nothing learn faster (adaLN-Zero; Peebles and Xie, DiT, 2023)."""
    import torch

    linears = [transformer.norm_out.linear, transformer.proj_out]
    for block in transformer.transformer_blocks:
        linears += [block.norm1.linear, block.norm1_context.linear]
    for linear in linears:
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
