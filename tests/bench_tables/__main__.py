"""``make bench``: our figures, measured now, beside those of others, recorded in recorded.toml."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from host_tools import ui
from host_tools.check.layers import run_as
from host_tools.measure import m4
from host_tools.measure.layers import measure
from model_pipeline.compiler import Program, compile_model
from model_pipeline.config import Packing
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.native import ROOT
from model_pipeline.tflm import Interpreter
from tests.support import frontend_profile, pdm

RECORDED = Path(__file__).with_name("recorded.toml")
SHARED = ROOT.parent / "shared" / "data"
RUNS = 10


def find(entry: dict[str, Any], wakeword: Path | None) -> tuple[Path | None, str]:
    """A model's file, or why it is not here."""
    if "package" in entry:
        folder = wakeword
        if folder is None:
            spec = importlib.util.find_spec("pymicro_wakeword")
            folder = Path(spec.origin).parent if spec and spec.origin else None
        if folder is None:
            return None, "absent: pip install --no-deps pymicro-wakeword"
        found = sorted(folder.rglob(entry["package"]))
        return (found[0], "") if found else (None, f"absent: no {entry['package']} in {folder}")
    for root in (ROOT, SHARED):
        if (root / entry["file"]).is_file():
            return root / entry["file"], ""
    return None, f"absent: {SHARED / entry['file']}"


def exact(tflite: bytes, program: Program, inputs: np.ndarray, outputs: np.ndarray) -> bool | None:
    """Whether the emulated board's outputs are tflite_micro's; None where that is not installed."""
    try:
        reference = Interpreter(tflite, keep=True)
    except MissingTool:
        return None
    if program.streaming is None:
        expected = [np.concatenate([t.view(np.int8) for t in run_as(reference, program, v)]) for v in inputs]
        return bool(np.array_equal(np.stack(expected).reshape(outputs.shape), outputs))
    frames, hop = program.streaming.window, program.streaming.hop
    sound = inputs.reshape(len(inputs) * hop, -1)
    shape = compile_model(tflite).input.shape
    calls = range(program.streaming.warm_up - 1, len(inputs))
    windows = [sound[(call + 1) * hop - frames : (call + 1) * hop].reshape(shape) for call in calls]
    expected = []
    for window in windows:
        reference.run(window)
        expected.append(reference.output())
    return bool(np.array_equal(np.stack(expected), outputs[calls.start :]))


def bench_model(path: Path, hop: int, packing: Packing) -> dict[str, Any]:
    """Measures a model's plan on the emulated Cortex-M4."""
    tflite = path.read_bytes()
    program = compile_model(tflite, packing, hop=hop)
    runs = RUNS + (program.streaming.warm_up if program.streaming else 0)
    size = program.input_bytes
    inputs = np.random.default_rng(1).integers(-128, 128, (runs, size)).astype(np.int8)
    cost = measure(program, inputs, "m4", calls=False)
    return {
        "macs": program.macs,
        "instructions": round(cost.total),
        "arena_bytes": program.arena_bytes,
        "ram_bytes": cost.ram,
        "stack_bytes": cost.stack,
        "flash_bytes": cost.flash,
        "constant_bytes": program.constant_bytes,
        "exact": exact(tflite, program, inputs, cost.outputs),
    }


def bench_frontend() -> dict[str, Any]:
    """A frame of the stock configuration, samples in included, on something like speech."""
    _, state, result = frontend_profile.run(frontend_profile.STOCK, frontend_profile.speechlike(2.0), ("-O2",))
    return {"instructions": round(result.per_call("frame")), "ram_bytes": state, "stack_bytes": result.stack}


def bench_pdm() -> dict[str, Any]:
    """A millisecond of the microphone's bits of the STM32F4 Discovery made into 16 samples."""
    bits = np.random.default_rng(1).integers(0, 2, 1024 * 50).astype(np.int8)
    samples, state, result = pdm.run(bits)
    return {
        "instructions": round(result.per_call("millisecond")),
        "ram_bytes": state,
        "stack_bytes": result.stack,
        "exact": bool(np.array_equal(samples, pdm.decimate(bits))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, epilog='make bench ARGS="--only kws01"')
    parser.add_argument("--only", action="append", help="one entry of recorded.toml (may be repeated)")
    parser.add_argument("--wakeword", type=Path, help="folder with the models of pymicro-wakeword")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    recorded = tomllib.loads(RECORDED.read_text(encoding="utf-8"))
    how = recorded.pop("how")
    chosen = {k: v for k, v in recorded.items() if not arguments.only or k in arguments.only}
    if not chosen:
        raise KwsError(f"nothing to measure; there are {', '.join(recorded)}")
    if tool := m4.missing_tool():
        raise MissingTool(f"{tool} is not in PATH", hint="make setup")
    rows: dict[str, dict[str, Any]] = {}
    with ui.progress("bench") as progress:
        for number, (name, entry) in enumerate(chosen.items()):
            progress(number, len(chosen), entry["title"])
            row: dict[str, Any] = {"recorded": entry}
            try:
                if name == "pdm":
                    row |= bench_pdm()
                elif name == "frontend":
                    row |= bench_frontend()
                else:
                    path, why = find(entry, arguments.wakeword)
                    if path is None:
                        row["missing"] = why
                    else:
                        row |= bench_model(path, entry.get("hop", 0), "speed")
                        row["size"] = bench_model(path, entry.get("hop", 0), "size")
            except KwsError as error:
                row["error"] = str(error)
            rows[name] = row
        progress(len(chosen), len(chosen), "")
    if arguments.json:
        print(json.dumps({"how": how, "rows": rows}, indent=2))
    elif arguments.markdown:
        print(markdown(rows))
    else:
        show(rows, how)
    missed = [k for k, r in rows.items() if r["recorded"].get("goal", 1 << 62) < r.get("instructions", 0)]
    wrong = [k for k, r in rows.items() if "error" in r or False in (r.get("exact"), r.get("size", {}).get("exact"))]
    if missed or wrong:
        print(f"over their goal: {', '.join(missed) or 'none'}; failed: {', '.join(wrong) or 'none'}", file=sys.stderr)
        sys.exit(1)


HEADS = (
    "model", "MACs", "--speed", "--size", "CMSIS-NN -O3", "ratio", "-Os", "TFLM reference",
    "RAM", "theirs", "flash", "--size", "exact",
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table, under `HEADS`."""
    entry = row["recorded"]
    note = row.get("missing") or row.get("error")
    theirs = entry.get("cmsis_o3") or entry.get("kissfft_o3")
    ours = row.get("instructions")
    small = row.get("size", {})
    said = {True: "yes", False: "NO", None: "not checked"}

    def number(value: int | None) -> str:
        return f"{value:,}" if value is not None else ""

    ram = row["ram_bytes"] + row["stack_bytes"] if "ram_bytes" in row else None
    return [
        entry["title"],
        number(row.get("macs")),
        note or number(ours),
        number(small.get("instructions")),
        number(theirs) + (" (kissfft)" if "kissfft_o3" in entry else ""),
        f"{theirs / ours:.2f} x" if theirs and ours else "",
        number(entry.get("cmsis_os")),
        number(entry.get("reference_o3")),
        number(ram),
        number(entry.get("arena")),
        number(row.get("flash_bytes")),
        number(small.get("flash_bytes")),
        " ".join(dict.fromkeys(said[part["exact"]] for part in (row, small) if "exact" in part)),
    ]


NOTES = """--speed, --size (kernels and constants of `kws compile`; gcc -O2 for both) and all figures of others: guest
instructions of an inference, no cycles. ratio: CMSIS-NN -O3 over --speed.
RAM: arena, kernels' static data and all of the stack; theirs: the arena alone. flash: kernels, plan and constants.
exact: the outputs on the emulated board equal those of tflite_micro here (PDM: of the same integers in NumPy)."""


def show(rows: dict[str, dict[str, Any]], how: str) -> None:
    """For people."""
    table = ui.Table(*HEADS, spare=(6, 9, 7, 12, 11, 3))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows.values():
        table.add_row(*cells(row))
    ui.out.show(table)
    ui.out.print(NOTES + "\n")
    ui.out.print("How the recorded figures were measured: " + how)


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """For a README."""
    lines = ["| " + " | ".join(HEADS) + " |", "|---" + "|---:" * (len(HEADS) - 1) + "|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows.values()]
    return "\n".join([*lines, "", NOTES])


if __name__ == "__main__":
    try:
        main()
    except KwsError as error:
        print(f"error: {error}" + (f"\n  try: {error.hint}" if error.hint else ""), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
