"""`capture` where there is no GPU: the step itself. How it records is in tests/fast."""

import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays, capture


def test_without_a_gpu_the_step_is_called_as_it_is(monkeypatch):
    monkeypatch.setattr(capture, "cuda_is_available", lambda: False)

    def step(x):
        return x.sum().item()

    assert tg.capture(step) is step


def test_what_is_no_function_or_has_no_warmup_is_refused():
    with pytest.raises(TypeError, match="must be a function, got int"):
        tg.capture(3)
    with pytest.raises(ValueError, match="warmup must be at least 1, got 0"):
        tg.capture(len, warmup=0)


def test_reading_what_is_in_memory_here_is_no_reading_from_the_device():
    x = tg.ones(3)
    with arrays.recording_step():
        assert x.sum().item() == 3.0
        with pytest.raises(RuntimeError, match="inside another one"), arrays.recording_step():
            pass
    assert not arrays.is_recording_step()
