"""From the models that a user names to the one generated folder that a build takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from host_tools import ui
from host_tools.image.build import DEFAULT_MODEL
from model_pipeline.config import CompileConfig
from model_pipeline.errors import KwsError
from model_pipeline.exported import Exported


def generated(
    models: Sequence[Path] | None,
    folder: Path,
    *,
    engine: str = "aot",
    streaming: int | None = None,
    choice: CompileConfig | None = None,
) -> Path | None:
    """The folder to build with: the one named, if `kws export` made it; else what is exported now into ``folder``.

    Args:
        models: None or none is the shipped model.
        streaming, choice: as for `model_pipeline.export.export`; where either is given all is exported anew.

    Raises:
        KwsError: no such model, models that can't be in one image, or an engine that takes no more than one.
    """
    given = [Path(model) for model in models or ()]
    anew = streaming is not None or choice is not None
    if (anew or len(given) > 1) and engine != "aot":
        what = "runs one model" if len(given) > 1 else "is not a compiled plan"
        raise KwsError(f"engine {engine} {what}", hint="leave out --engine, or what asks for a compiled plan")
    if len(given) > 1:
        from model_pipeline.together import check_number, export_together

        check_number(given)
        with ui.progress("export") as progress:
            export_together(given, folder, progress, streaming=streaming, choice=choice)
        return folder
    model = given[0] if given else None
    if not anew and (model is None or Exported.there(model) or not (model / "model.json").is_file()):
        return model
    from model_pipeline.export import export

    with ui.progress("export") as progress:
        export(model or DEFAULT_MODEL, folder, progress, streaming=streaming, choice=choice)
    return folder


def one(models: Sequence[Path] | None, what: str) -> Path | None:
    """The only model, None if none is named.

    Raises:
        KwsError: there are several, and ``what`` is for one.
    """
    if models and len(models) > 1:
        raise KwsError(f"{what} takes one model", hint="give --model once")
    return models[0] if models else None
