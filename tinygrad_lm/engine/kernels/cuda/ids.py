"""Ids are checked without waiting: a kernel writes a wrong one into two words of the device, which
the host reads when it next reads anything from there."""

import cupy

from ...arrays import WHEN_READ, before_each_replay, is_recording_step, kernel, noted

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
    checks: dict[tuple, int] = {}  # what is checked -> its number, from 1 on


@kernel(noted, cupy.ndarray)
def note(ids, name, what, first, size, ignore=None):
    if not ids.size:
        return True
    device = ids.device.id
    if device not in _State.found:
        _State.found[device] = cupy.zeros(2, "int64")
    check = _State.checks.setdefault((name, what, size), len(_State.checks) + 1)
    rest = (first, size, NO_ID if ignore is None else ignore, check)
    NOTE(ids, *rest, _State.found[device])
    _State.pending.add(device)
    before_each_replay(lambda: _State.pending.add(device))
    return True


def look():
    """An IndexError if a wrong id was found on some device since the last look."""
    if is_recording_step():
        return
    while _State.pending:
        found = _State.found[_State.pending.pop()]
        check, wrong = found.get().tolist()
        if check:
            with found.device:
                found.fill(0)
            name, what, size = next(key for key, n in _State.checks.items() if n == check)
            raise IndexError(
                f"[{name}] {what} must be in 0 ... {size - 1}, got {wrong} (out of range), in a "
                "call before this one: a GPU is asked about ids when something is read from it"
            )


WHEN_READ.append(look)
