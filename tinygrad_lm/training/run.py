"""One training run in one folder: everything is checked, then trained, evaluated and saved.

    out/last.json, last.*/   the newest checkpoint, from which --resume continues
    out/best.json, best.*/   the weights with the lowest validation loss
    out/metrics.jsonl        one line per event; out/loss.png is drawn from it
    out/.tinygrad_lm.lock    while the run goes on: its process and host

Files and the order of events are here; the mathematics of a step is in `trainer.py`. On several
ranks all go through the same events, and what touches the folder or the terminal is done by rank 0.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.shards import Tokens
from ..engine.arrays import dtype_named, library_on, set_num_threads
from ..engine.random.generator import Generator, manual_seed
from ..look.viz import save_loss_curve
from ..models.checkpoints import load_gpt, model_state, rebuild, shape_of
from ..models.gpt import GPT, GPTConfig
from ..models.lora import add_lora, save_lora
from ..ranks.group import world
from ..ranks.together import alone, together
from ..saving.checkpoint import load_checkpoint, remove_unused, save_checkpoint
from ..saving.files import StrPath, check_writable
from ..text.generation import generate_text, start_of_text
from ..text.tokenizers import Tokenizer
from .agreement import check_asked, check_installed, check_model, check_text, device_of_rank
from .config import MODEL_FIELDS, TrainConfig
from .console import Interrupted, Metrics, Progress, Signals
from .corpus import Corpus
from .folder import ADAPTER, METRICS, OTHERS, RUNS, Lock, check_free, made_with
from .memory import check_fits
from .resuming import Saved, check_saved, foreign
from .trainer import Trainer, split_tokens

SAMPLE_TEMPERATURE = 0.8


def pretrained_shape(place: StrPath) -> dict[str, Any]:
    """The fields of TrainConfig that a model to start from decides. Errors as for `load_gpt`."""
    shape = {"bias": True, **shape_of(place)}
    return {name: shape[name] for name in MODEL_FIELDS if name != "dropout"}


def train(config: TrainConfig, *, resume: bool = False, overwrite: bool = False) -> Trainer:
    """Train as `config` says, in the folder config.out, and return what came of it.

    resume: continue the run that is there; on the same machine, libraries and thread count the
    result is bit for bit that of a run never interrupted. overwrite: replace it. Interrupted
    (a KeyboardInterrupt): Ctrl-C, SIGTERM or SIGHUP, or nobody reads the output any more; after
    saving. NotFinite: a loss or gradient is. ValueError, RuntimeError, OSError: something is wrong
    with the input or the folder; no work has been done, nothing changed.

    Called by all ranks of a program that mpiexec started, it is one run with the bits of a single
    process, if that has as many threads as a rank; errors are those of all ranks.
    """
    signals = Signals()
    run = Run(config, signals, resume, overwrite)
    try:
        with signals:  # from here on there is something to save
            try:
                run.loop()
            except Interrupted:
                run.trainer.collect()
                run.first(run.leave)
                raise
        run.first(run.report)
    finally:
        run.close()
    return run.trainer


class Run:
    """A run that is ready to go; making it checks everything, and changes nothing if that fails."""

    def __init__(
        self, config: TrainConfig, signals: Signals, resume: bool, overwrite: bool
    ) -> None:
        self.config, self.signals, self.out = config, signals, Path(config.out)
        self.resume, self.overwrite, self.group = resume, overwrite, world()
        self.best_step: int | None = None  # where it was reached, if in this process
        self.group.timeout = config.timeout
        check_installed(self.group)
        check_asked(self.group, config, resume=resume, overwrite=overwrite)
        corpus = together(self.group, self._inputs)
        check_text(self.group, corpus)
        saved = alone(self.group, self._saved) if resume else None
        model, tokens = together(self.group, lambda: self._model(corpus, saved))
        self.trainer = Trainer(model, tokens, config)
        if saved:
            together(self.group, lambda: self._go_on(saved))
        check_model(self.group, model)
        self.first(self._open, saved)
        sizes = corpus.size(self.tokenizer, sum(map(len, tokens.values())))
        count = f"{model.get_num_params(False):,} parameters"
        if config.lora_rank:
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            count += f", {trained:,} of them trained"
        ranks = f"; {self.group.size} ranks" if self.group.size > 1 else ""
        self.title = f"{config.data}: {sizes}; {count}; from step {self.trainer.step}{ranks}"

    def first(self, work: Callable[..., None], *given: Any) -> None:
        """What rank 0 does for all."""
        together(self.group, lambda: None if self.group.rank else work(*given))

    # ------------------------------------------------ stage 1: what the run is given

    def _inputs(self) -> Corpus:
        """The text; folder and device are checked first."""
        if self.group.rank == 0:
            check_free(self.out, self.resume, self.overwrite)
        self.device = device_of_rank(self.group, self.config.device)
        library_on(self.device)
        if self.config.threads is not None:
            set_num_threads(self.config.threads)
        corpus = Corpus(self.config.data)
        self.sha256 = corpus.sha256
        return corpus

    def _saved(self) -> Saved:
        """The checkpoint to resume from, which must be of this configuration and this text."""
        saved = Saved(*load_checkpoint(self.out, "last"), self._pointer())
        check_saved(saved, self.config, self.sha256)
        return saved

    # ------------------------------------------------ stage 2: what is trained, and on what

    def _model(self, corpus: Corpus, saved: Saved | None) -> tuple[GPT, dict[str, Tokens]]:
        """The seeded model on its device, and the text in its ids, split in two."""
        config = self.config
        manual_seed(config.seed)
        model, self.tokenizer = self._model_and_tokenizer(corpus, saved)
        model.gradient_checkpointing = config.gradient_checkpointing
        self.prompt = config.sample_prompt or start_of_text(self.tokenizer)
        size = len(self.tokenizer.encode(self.prompt))  # an unknown character is an error now
        if config.sample_tokens and size > config.block_size:
            message = f"[train] sample_prompt must have at most {config.block_size} tokens, the"
            raise ValueError(f"{message} block_size, got {size}; a shorter one?")
        tokens = split_tokens(corpus.ids(self.tokenizer), config)
        model = model if self.device is None else model.to(self.device)
        return model.to(dtype_named(config.dtype)), tokens

    def _model_and_tokenizer(self, corpus: Corpus, saved: Saved | None) -> tuple[GPT, Tokenizer]:
        """A resumed model, one to fine-tune, or a new one."""
        config = self.config
        if saved:
            return rebuild(saved.arrays, saved.meta, f"{self.out} (last)")
        if config.init_from is None:
            if config.lora_rank:
                message = "[train] lora_rank must come with init_from: what is added to has to have"
                raise ValueError(f"{message} learned, got none; --init gpt2?")
            tokenizer = corpus.tokenizer(config.tokenizer, config.vocab_size)
            shape = {name: getattr(config, name) for name in MODEL_FIELDS}
            check_fits(config, tokenizer.vocab_size)
            model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **shape))
        else:
            model, tokenizer = self._pretrained()
        if config.lora_rank:
            add_lora(model, config.lora_rank, config.lora_alpha)
        return model, tokenizer

    def _pretrained(self) -> tuple[GPT, Tokenizer]:
        """The model that the run starts from, if it has the shape of the configuration."""
        config = self.config
        assert config.init_from is not None
        if config.tokenizer != TrainConfig.tokenizer:
            message = f"[train] tokenizer must be that of {config.init_from}"
            raise ValueError(f"{message}, got {config.tokenizer!r}; leave it out?")
        if Path(config.init_from).resolve() == self.out.resolve():
            message = "[train] out must be another folder than init_from, which it would replace"
            raise ValueError(f"{message}, got {config.out!r} for both; --resume continues a run")
        shape = shape_of(config.init_from)
        check_fits(config, shape["vocab_size"], shape.get("n_inner", 0))
        model, tokenizer = load_gpt(config.init_from, "best", dropout=config.dropout)
        for name in MODEL_FIELDS:
            came, there = getattr(config, name), getattr(model.config, name)
            if came != there and not (name == "block_size" and came < there):
                message = f"[train] {name} must be that of {config.init_from}, {there}, got {came}"
                raise ValueError(f"{message}; leave it out?")
        model.crop_block_size(config.block_size)
        return model, tokenizer

    # ------------------------------------------------ stage 3: where the run stands

    def _go_on(self, saved: Saved) -> None:
        """The trainer, at the step it was saved at."""
        try:
            self.trainer.load_state(saved.arrays, saved.meta["trainer"])
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise foreign(self.out, error) from error

    def _pointer(self) -> bytes:
        """Which checkpoint `last` is now."""
        return (self.out / "last.json").read_bytes() if self.resume else b""

    def _open(self, saved: Saved | None) -> None:
        """The folder, locked; its metrics, the progress: the first things that are written."""
        check_writable(self.out)
        self.lock = Lock(self.out)
        try:
            check_free(self.out, self.resume, self.overwrite)  # again: nobody else writes now
            if self.config.lora_rank:
                check_writable(self.out / ADAPTER)
            if saved and saved.pointer != self._pointer():
                message = f"[resume] the run in {self.out} must be that which was read"
                raise RuntimeError(f"{message}, got another, saved meanwhile; try again")
            self._begin(saved.meta if saved else {})
        except BaseException:
            self.lock.release()
            raise

    def _begin(self, meta: dict[str, Any]) -> None:
        config = self.config
        self.former = any((self.out / name).exists() for name in RUNS)
        remove_unused(self.out)
        self.metrics = Metrics(self.out / METRICS, meta["metrics"]) if meta else None
        per_step = config.batch_size * config.gradient_accumulation_steps * config.block_size
        self.progress = Progress(self.trainer.step, config.max_iters, per_step)
        self.start = time.monotonic() - meta.get("seconds", 0.0)
        before, now = meta.get("made_with", {}), made_with()
        if changed := [
            f"{k} {before[k]}, now {now[k]}" for k in now if before.get(k, now[k]) != now[k]
        ]:
            self.progress.say(f"the last digits may differ: made with {'; '.join(changed)}")

    def may_write(self) -> bool:
        """Whether this run is known to work, or there is none that it replaces; files that it has
        not written itself are gone then, but for a former checkpoint, which a save replaces."""
        if self.metrics is None and (self.trainer.evaluated >= 0 or not self.former):
            for name in OTHERS:
                (self.out / name).unlink(missing_ok=True)
            self.metrics = Metrics(self.out / METRICS, 0)
        return self.metrics is not None

    # ------------------------------------------------ the run itself

    def loop(self) -> None:
        trainer, config = self.trainer, self.config
        self.first(self._say_title)
        while True:
            due = trainer.step % config.eval_interval == 0 or trainer.step >= config.max_iters
            if due and trainer.evaluated != trainer.step:
                self._evaluate()
            if trainer.step >= config.max_iters:
                return
            together(self.group, self.signals.check)
            step, event = trainer.step, trainer.update()
            self.first(self._log, step, event)

    def _say_title(self) -> None:
        self.progress.say(self.title)

    def _log(self, step: int, event: dict[str, float]) -> None:
        """An update that was made at a step."""
        self.progress.advance(step + 1, event["loss"])
        if step % self.config.log_interval == 0 and self.metrics is not None:
            rate = self.progress.tokens_per_second(step + 1)
            self.metrics.write({"step": step, **event, "tokens_per_second": round(rate)})
            self.progress.line(step + 1, event["loss"])

    def _evaluate(self) -> None:
        """Both losses, a sample, a line of metrics, the checkpoints."""
        best, began = self.trainer.best, time.monotonic()
        self.first(self._look)  # first: it changes nothing yet
        losses = self.trainer.evaluate(self.signals.check)
        self.trainer.collect()
        self.first(self._record, losses, best, began)

    def _look(self) -> None:
        """At the folder, and at what the model writes."""
        self.lock.check()
        self.sample = self._sample() if self.config.sample_tokens else None

    def _record(self, losses: dict[str, float], best: float, began: float) -> None:
        """An evaluation; best: the lowest loss until then, began: its time."""
        trainer, sample = self.trainer, self.sample
        event: dict[str, Any] = {"step": trainer.step}
        event |= {"train_loss": losses["train"], "val_loss": losses["val"]}
        if sample is not None:
            event["sample"] = sample
        self.may_write()
        assert self.metrics is not None
        self.metrics.write({**event, "seconds": round(time.monotonic() - self.start, 3)})
        if trainer.best < best:  # first, so that no kill leaves a `last` that thinks it is there
            self.save("best")
            self.best_step = trainer.step
            if self.config.lora_rank:
                save_lora(trainer.model, self.out / ADAPTER)
        self.save("last")
        self.progress.say(
            f"step {trainer.step}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}"
        )
        if sample is not None:
            self.progress.say(f"{sample}\n")
        self.progress.pause(time.monotonic() - began)

    def _sample(self) -> str:
        """Text from a generator of its own, so that a run with samples is the run without."""
        model, config = self.trainer.model, self.config
        checking = model.register_forward_pre_hook(lambda *call: self.signals.check())
        try:
            return generate_text(
                model,
                self.tokenizer,
                self.prompt,
                config.sample_tokens,
                temperature=SAMPLE_TEMPERATURE,
                generator=Generator().manual_seed(config.seed),
            )
        finally:
            checking.remove()

    def save(self, name: str) -> None:
        """The checkpoint "best" holds a model; "last" all that the run needs to continue."""
        self.lock.check()
        arrays, meta = model_state(self.trainer.model, self.tokenizer)
        meta["config"] = dataclasses.asdict(self.config)
        meta["step"] = self.trainer.step
        if name == "last":
            more, meta["trainer"] = self.trainer.state()
            arrays = {**arrays, **more}
            meta["seconds"] = time.monotonic() - self.start
            length = self.metrics.length() if self.metrics else 0
            meta["metrics"], meta["sha256"] = length, self.sha256
            meta["made_with"] = made_with()
        save_checkpoint(self.out, arrays, meta, name)

    def leave(self) -> None:
        """Where the run is stopped."""
        said = f"nothing saved; the former run in {self.out} is as it was"
        if self.may_write():
            self.save("last")
            said = f"saved step {self.trainer.step} in {self.out}; --resume continues"
        with contextlib.suppress(Interrupted):  # where nobody reads it
            self.progress.say(said)

    def report(self) -> None:
        """Where it has come to its end."""
        if self.best_step is not None:
            best, step = f"{self.trainer.best:.4f}", self.trainer.step
            self.progress.say(
                f"best is step {self.best_step} (val loss {best}), last is step {step}"
            )
        self.progress.say(save_loss_curve(self.out / METRICS, self.out / "loss.png"))

    def close(self) -> None:
        if self.group.rank:
            return
        if self.metrics:
            self.metrics.close()
        self.progress.close()
        self.lock.release()
