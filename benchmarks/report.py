"""Writes the README's measured figures from the results of the other scripts, and measures nothing.

python benchmarks/report.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import harness

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- measured -->", "<!-- /measured -->"
WORKS = {
    "mlp": "the MLP of makemore part 2 (batch 32, `.data` updates)",
    "gpt-cpu": "GPT, 4 layers, 4 heads, 128 wide, T 64, B 12 (nanoGPT's CPU configuration)",
    "baby-gpt": "GPT, 6 layers, 6 heads, 384 wide, T 256, B 64 (nanoGPT's baby GPT, dropout 0)",
}


def where(machine: dict[str, Any], threads: int) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return f"{machine['processor']}, {threads} of {machine['cores']} cores; {versions}"


def shakespeare(found: dict[str, Any]) -> str:
    """The nine losses beside PyTorch's, the curve, and what the model writes."""
    head = "| step | " + " | ".join(map(str, found["steps"])) + " |"
    rule = "| --- " * (len(found["steps"]) + 1) + "|"
    ours = "| here | " + " | ".join(f"{x:.4f}" for x in found["validation_losses"]) + " |"
    reference = "| PyTorch | " + " | ".join(f"{x:.4f}" for x in found["reference"]) + " |"
    sample = "\n".join(found["sample"].strip().splitlines()[:14])
    return f"""### Shakespeare

nanoGPT's CPU configuration on tiny shakespeare, seed 1337: validation losses here and those that
PyTorch 2.13.0 prints. The run took {found["seconds"]:.0f} s, with its evaluations and samples.
`{found["command"]}`
({where(found["machine"], found["threads"])})

{head}
{rule}
{ours}
{reference}

![loss curve](benchmarks/results/shakespeare.png)

What the trained model writes (0.80 M parameters, one character at a time):

```text
{sample}
```
"""


def steps(results: list[dict[str, Any]]) -> str:
    parts = [
        "### One training step, beside PyTorch",
        "Forward, backward and update; each engine in a process of its own, in turn; median (least "
        "- most). PyTorch eager with fused AdamW and SDPA, as found, and with the malloc settings "
        "that we make at import in its environment.",
    ]
    for found in results:
        settings = found["settings"]
        command = (
            f"python benchmarks/step.py --work {found['work']} --repeats {settings['repeats']}"
        )
        parts.append(
            f"**{WORKS.get(found['work'], found['work'])}**\\\n`{command}` "
            f"({where(found['machine'], settings['threads'])})"
        )
        parts.append(harness.table(found["results"], "tinygrad_lm"))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    def read(name: str) -> dict[str, Any] | None:
        path = harness.RESULTS / f"{name}.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    parts = []
    if trained := read("shakespeare"):
        parts.append(shakespeare(trained))
    measured = [found for work in WORKS if (found := read(f"step-{work}"))]
    if measured:
        parts.append(steps(measured))
    text = README.read_text("utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    README.write_text(before + START + "\n" + "\n".join(parts) + END + after, "utf-8")
    print(f"{README.name}: {len(parts)} sections")


if __name__ == "__main__":
    main()
