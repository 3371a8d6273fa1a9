"""``kws federate``"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from host_tools import ui
from host_tools.options import common, recipe
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.packages import pip_install

if TYPE_CHECKING:
    from model_pipeline.outcomes import Federated, FederatedComparison

EXAMPLE = (
    "Example: kws federate --recipe tiny --data data/speech-commands --rounds 100 --strategy fedavgm "
    "--speakers-per-client 8 --out runs/federated   and then   kws quantize runs/federated "
    "--recipe runs/federated/recipe.toml --data data/speech-commands --out runs/federated/model"
)
_HELD_OUT = 0.2  # of a client's clips, for its own head


def federate(
    data: Annotated[Path, typer.Option("--data", "-d", help="A data folder, whose files name their speakers.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for model.keras, federated.json and log.csv.")],
    config: recipe.Recipe = "tiny",
    settings: recipe.Settings = None,
    clients: Annotated[Literal["speaker"], typer.Option(help="What a client is.")] = "speaker",
    speakers_per_client: Annotated[
        int | None, typer.Option(min=1, help="Speakers of a client.", show_default="1")
    ] = None,
    keywords_per_client: Annotated[
        int | None, typer.Option(min=0, help="Keywords that a client has clips of; 0: all.", show_default="0")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds in all.", show_default="50")] = None,
    fraction: Annotated[
        float | None, typer.Option(help="Share of the clients that a round asks.", show_default="0.05")
    ] = None,
    strategy: Annotated[
        Literal["fedavg", "fedprox", "fedadam", "fedavgm"] | None,
        typer.Option(help="How the server makes one network of many.", show_default="fedavg"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times that a client goes over its clips in a round.", show_default="2")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="A client's learning rate.", show_default="0.1")] = None,
    upload: Annotated[
        Literal["float32", "int8", "topk"] | None,
        typer.Option(help="How a client sends what it learnt.", show_default="int8"),
    ] = None,
    dp: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="NOISE CLIP", help="Differential privacy: noise, as a multiple of the length a client is cut to."
        ),
    ] = None,
    secagg: Annotated[bool, typer.Option("--secagg", help="Secure aggregation: the server sees sums alone.")] = False,
    head_only: Annotated[
        bool, typer.Option("--head-only", help="Train the last layer alone, as a device can (docs/federated.md).")
    ] = False,
    personal: Annotated[
        bool,
        typer.Option(
            "--personal", help="A fifth of each client's clips is heard in no round, and judges a head of its own."
        ),
    ] = False,
    begin: Annotated[
        Path | None, typer.Option("--from", help="A folder of kws train, whose network is the first.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of clients, rounds and weights.", show_default="1")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that stand for clients; above 1 by Ray.", show_default="1")
    ] = None,
    app: Annotated[
        bool, typer.Option("--app", help="Write Flower's application for `flwr run` to --out, and train nothing.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Train variants too, and the recipe in one place, and print a table.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="With --compare: this variant alone; may be repeated.")
    ] = None,
    json: common.Json = False,
) -> None:
    """Train over the speakers of a data folder as if each were a device of its own, by Flower. No clip leaves a client.

    Goes on from its last round after a stop.
    """
    from host_tools.run.steps import write_config
    from model_pipeline.child import run_step
    from model_pipeline.config import load_config, with_settings
    from model_pipeline.outcomes import Federated, FederatedApp, FederatedComparison

    if importlib.util.find_spec("flwr") is None:
        raise MissingTool("Flower is not installed", hint=pip_install(extra="federated"))
    given = {
        "speakers_per_client": speakers_per_client, "keywords_per_client": keywords_per_client, "rounds": rounds,
        "fraction": fraction, "strategy": strategy, "epochs": epochs, "learning_rate": rate, "upload": upload,
        "seed": seed, "workers": workers, "begin": str(begin.resolve()) if begin else None,
        "held_out": _HELD_OUT if personal else None, "head_only": head_only or None, "secure": secagg or None,
    }  # fmt: skip
    if dp:
        given |= {"noise": dp[0], "clip": dp[1]}
    if secagg and not upload:
        given["upload"] = "float32"
    if only and not compare:
        raise KwsError("--only belongs to --compare")
    changes = [*(settings or []), *(f"federate.{k}={_toml(v)}" for k, v in given.items() if v is not None)]
    whole = with_settings(load_config(config), changes)  # what is wrong is said before a child starts
    arguments = [*recipe.arguments(config, changes, None), "--data", str(data), "--out", str(out)]
    arguments += [f"--only={name}" for name in only or []]
    result: FederatedApp | FederatedComparison | Federated
    with ui.progress("comparing" if compare else "federated training") as progress:
        if app:
            result = run_step("model_pipeline.federated.application", arguments, FederatedApp, progress)
        elif compare:
            result = run_step("model_pipeline.federated.compare", arguments, FederatedComparison, progress)
        else:
            result = run_step("model_pipeline.federated", arguments, Federated, progress)
            write_config(whole.of_clips(), out / "recipe.toml")

    def human(_: object) -> None:
        if isinstance(result, FederatedApp):
            ui.out.say("{}: Flower's application; docs/federated.md tells how to run it on several machines", out)
        elif isinstance(result, FederatedComparison):
            _comparison(result)
        else:
            _show(result, out, data)

    ui.emit({"out": str(out), "data": str(data), **result.model_dump(mode="json")}, json, human)


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show(trained: Federated, out: Path, data: Path) -> None:
    last = trained.rounds[-1]
    ui.out.say(
        "{}: {:.2f} % on the validation clips after {} rounds of {} of {} clients",
        out,
        100 * last.validation_accuracy,
        last.number,
        trained.sampled,
        trained.clients,
    )
    ui.out.say(
        "  {}, {}: {:,} weights, {:.1f} KB up and {:.1f} KB down a client and round",
        trained.strategy,
        "secure aggregation" if trained.secure else trained.upload,
        trained.weights,
        last.up / 1000,
        last.down / 1000,
    )
    if own := trained.personal:
        ui.out.say(
            "  a head for each of {} clients: {:.1f} -> {:.1f} % of {:,} clips that no round heard; mean over clients "
            "{:.1f} -> {:.1f} %; better for {}, worse for {}",
            own.clients,
            100 * own.right_before / own.held,
            100 * own.right_after / own.held,
            own.held,
            100 * own.before,
            100 * own.after,
            own.better,
            own.worse,
        )
    if trained.epsilon is not None:
        ui.out.say("  differential privacy: epsilon {:.1f} at delta {:.1e}", trained.epsilon, trained.delta)
    ui.out.say("  kws quantize {} --recipe {}/recipe.toml --data {} --out {}/model", out, out, data, out)


def _comparison(found: FederatedComparison) -> None:
    table = ui.Table("trained", "clients", "right", "to target", "up, round", "up", "down", "epsilon", spare=(1, 3))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("in one place", "", f"{100 * found.central:.1f} %", "", "", "", "", "")
    for v in found.variants:
        table.add_row(
            v.name,
            f"{v.sampled} of {v.clients}",
            f"{100 * v.accuracy:.1f} %",
            str(v.rounds_to_target or "-"),
            f"{v.up_kb:.1f} KB",
            f"{v.up_mb:.2f} MB",
            f"{v.down_mb:.2f} MB",
            "" if v.epsilon is None else f"{v.epsilon:.1f}",
        )
    ui.out.show(table)
    ui.out.say(
        "Right: of {} validation clips, after the last round. To target: rounds to {:.1f} %. Up, down: of a client, in "
        "a round and in all. In one place: {} epochs, as many examples.",
        found.validation_clips,
        100 * found.target,
        found.central_epochs,
    )
    numbers = sorted({n for v in found.variants for n in v.by_round})
    step = max(1, len(numbers) // 6)
    shown = [n for n in numbers if n % step == 0 or n == numbers[-1]]
    rounds = ui.Table("after round", *map(str, shown), spare=(1,))
    for v in found.variants:
        rounds.add_row(v.name, *(f"{100 * v.by_round[n]:.1f}" if n in v.by_round else "" for n in shown))
    ui.out.show(rounds)
