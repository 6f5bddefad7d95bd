"""Ids and conditions are checked without waiting: a kernel writes a wrong one into two words of the
device, which the host reads when it next reads anything from there."""

import cupy

from ...arrays import WHEN_READ, before_each_replay, hold, is_recording_step, kernel, noted

NO_ID = -(1 << 63)
# Several threads may find a wrong one: they write the same check, and any of their ids will do.
NOTE = cupy.ElementwiseKernel(
    "T id, int64 first, int64 size, int64 ignore, int64 check",
    "raw int64 found",
    """long long it = id;
    if ((it < first || it >= size) && it != ignore && (found[0] == 0 || found[0] == check)) {
        found[0] = check;
        found[1] = it;
    }""",
    "tinygrad_lm_note_wrong_id",
)


class _State:
    """Process-wide."""

    found: dict[int, cupy.ndarray] = {}  # device -> number of the check that failed or 0, the id
    pending: set[int] = set()  # devices that may have found something since the last look
    checks: dict[tuple, int] = {}  # (kind of error, what it says) -> its number, from 1 on


@kernel(noted, cupy.ndarray)
def note(ids, name, what, first, size, ignore=None):
    problem = f"[{name}] {what} must be in 0 ... {size - 1}, got {{}} (out of range)"
    return _note(ids, first, size, NO_ID if ignore is None else ignore, (IndexError, problem))


@kernel(hold, cupy.ndarray)
def note_false(conditions, problem):
    with conditions.device:  # which may not be the current one outside an op
        return _note(conditions, 1, 2, NO_ID, (RuntimeError, problem))


def _note(numbers, first, size, ignore, error):
    if not numbers.size:
        return True
    device = numbers.device.id
    if device not in _State.found:
        _State.found[device] = cupy.zeros(2, "int64")
    check = _State.checks.setdefault(error, len(_State.checks) + 1)
    NOTE(numbers, first, size, ignore, check, _State.found[device])
    _State.pending.add(device)
    before_each_replay(lambda: _State.pending.add(device))
    return True


def look():
    """The error, if something wrong was found on some device since the last look."""
    if is_recording_step():
        return
    while _State.pending:
        found = _State.found[_State.pending.pop()]
        check, wrong = found.get().tolist()
        if check:
            with found.device:
                found.fill(0)
            kind, problem = next(error for error, n in _State.checks.items() if n == check)
            raise kind(
                f"{problem.format(wrong)} - in a call before this one: a GPU is asked about that "
                "when something is read from it"
            )


WHEN_READ.append(look)
