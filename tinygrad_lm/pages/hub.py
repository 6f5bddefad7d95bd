"""`torch.hub`, which would run other people's code and read their pickles: refused when used."""

from __future__ import annotations

from typing import Any, NoReturn


def load(repo_or_dir: Any = None, *args: Any, **named: Any) -> NoReturn:
    raise RuntimeError(
        f"[hub] models must be safetensors, got {repo_or_dir!r:.60}, which is code and pickles; "
        "try load_pretrained of tinygrad_lm.models.pretrained, or run this line with PyTorch"
    )


list = help = load_state_dict_from_url = download_url_to_file = load
