"""How the next token is chosen from what a model expects: a few numbers, and what they do to the
logits, in the order in which they are applied.
"""

from __future__ import annotations

import dataclasses
import math

from ..engine.arrays import hold
from ..engine.core.tensor import Tensor
from ..engine.pytorch import random
from ..engine.random.generator import Generator

# Shapes: B batch, T time, V vocabulary.

NO_NUMBERS = "[generate] logits must be numbers, got NaN or inf; are the model's weights damaged?"
LEAST, MOST = 1e-6, 1e6  # of a factor: logits stay within float32


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The settings, in the order in which they work. ValueError: one is out of its range.

    repetition_penalty: logits of tokens that are in the context already are divided by it, or
    multiplied where negative (Keskar et al., 2019, arXiv 1909.05858). temperature: logits are
    divided by it. top_k: draw among the k likeliest only. top_p: among the smallest set of tokens
    that holds this share (Holtzman et al., 2019, arXiv 1904.09751). min_p: among those at least
    this share as likely as the likeliest (Nguyen et al., 2024, arXiv 2407.01082). greedy: take the
    likeliest, draw nothing.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    greedy: bool = False
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not LEAST <= self.temperature <= MOST:
            message = f"[generate] temperature must be in [{LEAST}, {MOST}], got {self.temperature}"
            raise ValueError(f"{message}; for the likeliest token pass greedy=True")
        if self.top_k is not None and self.top_k < 1:
            message = f"[generate] top_k must be >= 1, got {self.top_k}"
            raise ValueError(f"{message}; None keeps every token")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            message = f"[generate] top_p must be in (0, 1], got {self.top_p}"
            raise ValueError(f"{message}; 1 keeps every token")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            message = f"[generate] min_p must be in [0, 1], got {self.min_p}"
            raise ValueError(f"{message}; 0 keeps every token")
        if not LEAST <= self.repetition_penalty <= MOST:
            message = f"[generate] repetition_penalty must be in [{LEAST}, {MOST}], got"
            raise ValueError(f"{message} {self.repetition_penalty}; 1 changes nothing")

    def choose(self, logits: Tensor, context: Tensor, generator: Generator | None = None) -> Tensor:
        """One id (B, 1) for each row of logits (B, V); context: the ids before it, (B, T).

        RuntimeError: logits are NaN or inf, or all of a row are -inf.
        """
        if self.repetition_penalty != 1:
            logits = penalised(logits, context, self.repetition_penalty)
        if self.greedy:
            highest, chosen = logits.max(-1, keepdim=True)
            _check_numbers(highest)
            return chosen
        logits = logits / self.temperature
        try:
            probs = self.narrowed(logits).softmax(-1)
            return random.multinomial(probs, 1, generator=generator)
        except RuntimeError:  # it looks by itself, in words of its own
            _check_numbers(logits.max(-1, keepdim=True)[0])
            raise

    def narrowed(self, logits: Tensor) -> Tensor:
        """logits (B, V) with -inf for the tokens that are excluded."""
        if self.top_k is not None:
            kept, _ = logits.topk(min(self.top_k, logits.shape[-1]))
            logits = logits.masked_fill(logits < kept[:, -1:], -math.inf)
        if self.top_p is not None:
            ranked, order = logits.softmax(-1).sort(dim=-1, descending=True)
            beyond = ranked.cumsum(-1) - ranked >= self.top_p  # before it there is the share
            places = order.argsort(-1)  # the rank of each token
            beyond = beyond.take_along_dim(places, 1) & (places > 0)  # a share may round to 0
            logits = logits.masked_fill(beyond, -math.inf)
        if self.min_p:
            least = logits.max(-1, keepdim=True)[0] + math.log(self.min_p)
            logits = logits.masked_fill(logits < least, -math.inf)
        return logits


def _check_numbers(highest: Tensor) -> None:
    """RuntimeError: one of the highest logits (B, 1) is NaN, or infinite. A GPU says so when
    something is next read from it."""
    if hold(highest.isfinite().array, NO_NUMBERS):
        return
    wrong = [x for x in highest[:, 0].tolist() if not math.isfinite(x)]
    if wrong:
        came = "NaN" if math.isnan(wrong[0]) else f"{wrong[0]} as the highest of a row"
        raise RuntimeError(NO_NUMBERS.replace("NaN or inf", came))


def penalised(logits: Tensor, context: Tensor, penalty: float) -> Tensor:
    """logits (B, V), less likely for the tokens in context (B, T); ids beyond V are of none."""
    context = context.minimum(context.new_full((1, 1), logits.shape[-1]))
    seen = logits.new_zeros(logits.shape[0], logits.shape[-1] + 1).scatter(1, context, 1.0)
    less = (logits / penalty).where(logits > 0, logits * penalty)
    return less.where(seen[:, :-1] > 0, logits)
