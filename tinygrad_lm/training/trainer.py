"""A model in training: batches, one step, an evaluation, and all of it as arrays to save.

The order of random draws is that of nanoGPT's training script, so a seeded run sees the same
batches. Several ranks share the batches out and go on alike, with the bits of one process: each
draws what all draw, and forgets what is not its own. Files, the terminal and the clock are in
`run.py` and `console.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..data.shards import Tokens
from ..data.windows import window_offsets
from ..engine.arrays import Array, as_array, library, to_numpy
from ..engine.arrays import device as Device
from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch import creation, random
from ..engine.pytorch.grad_mode import no_grad
from ..models.checkpoints import PREFIX
from ..models.gpt import GPT
from ..nn.utils import clip_grads_with_norm_, get_total_norm
from ..optim.adam import AdamW
from ..optim.optimizer import Optimizer
from ..optim.zero import ZeroRedundancyOptimizer
from ..ranks.gradients import Gradients
from ..ranks.group import world
from ..ranks.together import together
from ..ranks.tree import share
from ..saving.files import Arrays
from .config import TrainConfig
from .not_finite import NotFinite, first_bad_gradient, first_bad_value
from .streams import Streams

# Shapes: B batch, T time (block_size).


def split_tokens(tokens: Tokens, config: TrainConfig) -> dict[str, Tokens]:
    """The beginning to train on and the end to validate with. ValueError: one is too short."""
    cut = int(len(tokens) * (1 - config.val_fraction))
    splits = {"train": tokens[:cut], "val": tokens[cut:]}
    for name, part in splits.items():
        if len(part) <= config.block_size:
            message = f"[train] the {name} part must be longer than block_size {config.block_size}"
            hint = "a longer text, a smaller block_size, or a val_fraction other than"
            came = f"got {len(part)} of {len(tokens)} tokens"
            raise ValueError(f"{message}, {came}; {hint} {config.val_fraction}?")
    return splits


def draw_offsets(tokens: Tokens, block_size: int, batch_size: int) -> np.ndarray:
    """Where a batch's sequences begin, int64 (B,), from the global stream."""
    return random.randint(len(tokens) - block_size, (batch_size,), device="cpu").numpy()


def batch_at(
    tokens: Tokens, offsets: np.ndarray, block_size: int, device: str | Device | None = None
) -> tuple[Tensor, Tensor]:
    """Inputs and targets, int64 (B, T) each: targets[b, t] is the token after inputs[b, t].

    tokens: integers (N,), in memory or mapped.
    """
    rows = tokens[offsets[:, None] + np.arange(block_size + 1)].astype(np.int64)
    x, y = creation.tensor(rows[:, :-1], device=device), creation.tensor(rows[:, 1:], device=device)
    return x, y


def gathered(scalars: list) -> tuple[Array, Array]:
    """Numbers and 0-d arrays, of which the last is one, as one array where that is, float64 (N,),
    so that they are read at once; and whether all are finite, 0-d."""
    lib = library(scalars[-1])
    numbers = lib.empty(len(scalars), "float64")
    for i, x in enumerate(scalars):
        numbers[i] = x
    return numbers, as_array(lib.isfinite(numbers).all())


class Trainer:
    """A GPT, its optimiser, and where the run stands.

    tokens: {"train": (N,), "val": (M,)}. The first batch is drawn here, before anything else. On
    several ranks all of this is the same on each, and every method is called by all.
    """

    def __init__(self, model: GPT, tokens: dict[str, Tokens], config: TrainConfig) -> None:
        self.model, self.tokens, self.config = model, tokens, config
        betas = (config.beta1, config.beta2)
        self.optimizer: Optimizer = model.configure_optimizers(
            config.weight_decay, config.learning_rate, betas
        )
        self.group = world()
        if config.zero:
            groups = self.optimizer.param_groups
            self.optimizer = ZeroRedundancyOptimizer(groups, AdamW, self.group)
        self.sums = Gradients(model.parameters(), self.group)
        self.streams = Streams(model.lm_head.weight.device)
        self.step = 0  # updates made
        self.evaluated = -1  # the last step at which `evaluate` was called
        self.best = math.inf  # lowest validation loss, in nats per token
        self.offsets = self._draw("train", 0)

    def _draw(self, split: str, number: int | None = None) -> np.ndarray:
        """The offsets of micro-batch `number` of the run, or of one to evaluate with."""
        tokens, c = self.tokens[split], self.config
        if number is not None and c.shuffle:
            return window_offsets(len(tokens), c.block_size, c.batch_size, number, c.seed)
        return draw_offsets(tokens, c.block_size, c.batch_size)

    def _batch(self, split: str, offsets: np.ndarray) -> tuple[Tensor, Tensor]:
        device = self.model.lm_head.weight.device
        return batch_at(self.tokens[split], offsets, self.config.block_size, device)

    def _loss(self, split: str, offsets: np.ndarray) -> Tensor:
        return self.model(*self._batch(split, offsets))[1]

    def update(self) -> dict[str, float]:
        """One step: {"loss", "grad_norm", "lr"}. NotFinite: nothing has been updated.

        The only wait for a GPU is at the end, for all numbers together: what is not finite makes
        the optimiser do nothing there, without anyone here having to know.
        """
        c, sums, losses, drawn, last = self.config, self.sums, [], [], None
        self.group.step = self.step
        sums.begin(c.gradient_accumulation_steps)
        for k in range(c.gradient_accumulation_steps):
            if k in sums.mine:
                if last is not None:
                    sums.backward(last, k - 1)
                drawn.append(self.offsets)
                loss = self._loss("train", self.offsets)
                losses.append(loss.array)
                last = loss / c.gradient_accumulation_steps
            else:
                self.streams.pass_over(partial(self._loss, "train", self.offsets))
            number = self.step * c.gradient_accumulation_steps + k
            self.offsets = self._draw("train", number + 1)  # after the draws of this pass's dropout
        if last is not None:  # when all is drawn: from now on gradients travel
            sums.backward(last, sums.mine[-1])
        sums.finish()
        rate, optimizer, parameters = c.rate(self.step), self.optimizer, [*self.model.parameters()]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None]).array
        numbers, finite = gathered([*self._all(losses), norm])
        usable = library(norm).where(finite, norm, 0)  # by which nothing that is bad is scaled
        clip_grads_with_norm_(parameters, c.grad_clip or math.inf, wrap(usable))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.found_inf = wrap(as_array((~finite).astype("float32")))
        optimizer.step()
        optimizer.found_inf = None
        *found, length = to_numpy(numbers).tolist()
        if not all(map(math.isfinite, [*found, length])):
            optimizer.take_back()
            mine = [found[k] for k in sums.mine]
            together(self.group, lambda: self._check(mine, "loss", "train", drawn, sums.mine))
            self._stop("gradient", "another value", first_bad_gradient(self.model))
        optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return {"loss": sum(found) / len(found), "grad_norm": length, "lr": rate}

    def _all(self, losses: list[Array]) -> list:
        """0-d arrays of this rank's batches: those of all, as numbers if there are more ranks."""
        if self.group.size == 1:
            return losses
        mine = to_numpy(gathered(losses)[0]).tolist() if losses else []
        return [loss for each in self.group.gather(mine) for loss in each]

    def _check(
        self, losses: list[float], name: str, split: str, drawn: list[np.ndarray], numbers: range
    ) -> None:
        """NotFinite for the first loss that is not; the batches have offsets and numbers."""
        for loss, offsets, number in zip(losses, drawn, numbers, strict=True):
            if not math.isfinite(loss):
                first = first_bad_value(self.model, *self._batch(split, offsets))
                self._stop(name, loss, f"{first}, in batch {number}")

    def evaluate(self, between: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Mean loss over eval_iters fresh batches of each split, {"train", "val"}, in eval mode.

        between() is called before each batch; if it raises, the random streams are put back, so
        that the evaluation can be done again as if it had not begun.
        """
        self.group.step = self.step
        before = self.streams.state()
        self.model.eval()
        try:
            with no_grad():
                means = {split: self._mean_loss(split, between) for split in self.tokens}
        except BaseException:
            self.streams.set_state(before)
            raise
        finally:
            self.model.train()
        self.evaluated, self.best = self.step, min(self.best, means["val"])
        return means

    def _mean_loss(self, split: str, between: Callable[[], None]) -> float:
        count = self.config.eval_iters
        mine = share(count, self.group.rank, self.group.size)

        def losses() -> list[float]:
            found, drawn = [], []
            for i in range(count):
                between()
                offsets = self._draw(split)
                if i in mine:
                    drawn.append(offsets)
                    found.append(self._loss(split, offsets).array)
            numbers = to_numpy(gathered(found)[0]).tolist() if found else []
            self._check(numbers, f"{split} loss", split, drawn, mine)
            return numbers

        all_of_them = [x for each in self.group.gather(together(self.group, losses)) for x in each]
        return sum(all_of_them) / len(all_of_them)

    def _stop(self, what: str, came: Any, first: str) -> None:
        message = f"[train] step {self.step}: every {what} must be finite, got {came}"
        hint = "a lower learning_rate, or grad_clip 1? Checkpoints hold the steps before"
        raise NotFinite(f"{message}, first in {first}; {hint}")

    def collect(self) -> None:
        """Bring to rank 0 what `state` is asked for there."""
        if isinstance(self.optimizer, ZeroRedundancyOptimizer):
            self.optimizer.consolidate_state_dict()

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Everything besides the model that the future of this run depends on; on several ranks
        by rank 0, after all have collected it."""
        arrays = {"next_batch": self.offsets, **self.streams.state()}
        saved = self.optimizer.state_dict()
        plain: dict[str, Any] = {}
        for index, entries in saved["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    arrays[f"optimizer.{index}.{name}"] = value.detach().cpu().numpy()
                else:
                    plain[f"{index}.{name}"] = value
        counters = {"step": self.step, "evaluated": self.evaluated, "best": self.best}
        return arrays, {**counters, "optimizer": plain, "groups": saved["param_groups"]}

    def load_state(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Continue from what `state` returned, bit for bit. If the weights have another dtype now,
        their float32 values go on: from `arrays` of a checkpoint too, where they are "model.*"."""
        entries: dict[int, dict[str, Any]] = {}
        values = {n[len("optimizer.") :]: a for n, a in arrays.items() if n[:10] == "optimizer."}
        for name, value in [*values.items(), *meta["optimizer"].items()]:
            index, _, key = name.partition(".")
            value = creation.from_numpy(value) if isinstance(value, np.ndarray) else value
            entries.setdefault(int(index), {})[key] = value
        self._change_dtype(entries, arrays)
        self.optimizer.load_state_dict({"state": entries, "param_groups": meta["groups"]})
        self.step, self.evaluated, self.best = meta["step"], meta["evaluated"], meta["best"]
        self.offsets = arrays["next_batch"]
        self.streams.set_state(arrays)

    def _change_dtype(self, entries: dict[int, dict[str, Any]], arrays: Arrays) -> None:
        """Weights from a 16-bit run's masters, or masters from a float32 run's weights."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for i, entry in entries.items():
            p = parameters[i]
            if p.dtype.itemsize > 2 and "master" in entry:
                p.data.copy_(entry.pop("master").to(p.device))
            elif p.dtype.itemsize == 2 and "master" not in entry:
                weight = arrays.get(PREFIX + names[id(p)])
                if weight is not None:
                    entry["master"] = creation.from_numpy(weight)
