"""The ``kws`` command. One verb is one file in host_tools/verbs: a function of the
file's name with its ``EXAMPLE``, or a ``GROUP`` of several."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import keyword
import math
import os
import pkgutil
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import typer

from host_tools import deferred, ui, verbs
from model_pipeline.errors import KwsError, MissingTool

# Here, where nothing else has had typer import it. `kws --help` is to be there at once, and what it must not import is
# in tests/tools/test_cli.py: what only some verbs need is imported below, where it is used.
with deferred.classes(deferred.UNUSED_BY_HELP):
    import typer.rich_utils

# Before anything can import TensorFlow: it reads these once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same sums on every CPU


PANELS = {
    "Model": "run new import train federate quantize evaluate look calibrate search study export compile compare "
    "report runs",
    "Firmware": "boards build emulate profile bench mlperf",
    "Device": "devices flash live monitor stream web selftest",
    "Data": "data record sessions edgeimpulse",
}


def build_app(only: str | None = None) -> typer.Typer:
    """The application with all verbs: in `PANELS`, and there in their order.

    Args:
        only: the verb that is asked for; of the others there are just their names and what they are for. "": none is.
    """
    app = typer.Typer(
        name="kws",
        help="Keyword spotting for microcontrollers: train, quantise, compile, build, flash, stream, measure.",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_needs_the_project)
    panels = {verb: panel for panel, names in PANELS.items() for verb in names.split()}
    here = sorted(module.name for module in pkgutil.iter_modules(verbs.__path__) if not module.name.startswith("_"))
    for name in [*panels, *(other for other in here if other not in panels)]:
        if only is not None and name != only:
            app.command(name, help=_about(name), rich_help_panel=panels.get(name))(_not_asked_for)
            continue
        module = importlib.import_module(f"{verbs.__name__}.{name}")
        panel = panels.get(name)
        if hasattr(module, "GROUP"):
            for below in module.GROUP.registered_commands:
                if below.callback and not hasattr(below.callback, "__wrapped__"):  # a second application has the same
                    below.callback = _finite(below.callback)
            app.add_typer(module.GROUP, rich_help_panel=panel)
        else:
            app.command(name, epilog=module.EXAMPLE, rich_help_panel=panel)(
                _finite(getattr(module, function_name(name)))
            )
    return app


def _about(verb: str) -> str:
    """A verb's words in the list of all, read from its file: importing all takes longer than most of them run."""
    text = (Path(verbs.__path__[0]) / f"{verb}.py").read_text(encoding="utf-8")
    group = re.search(r"^GROUP = .*?\bhelp=\"(.*?)\"", text, re.MULTILINE | re.DOTALL)
    if group:
        return group[1]
    docstring = re.search(rf'^def {function_name(verb)}\(.*?"""(.*?)"""', text, re.MULTILINE | re.DOTALL)
    return inspect.cleandoc(docstring[1]) if docstring else ""


def _not_asked_for() -> None:
    raise AssertionError("a verb that was not asked for")


def _asked_for(arguments: Sequence[str]) -> str | None:
    """The verb on the command line, "" for none; None where the shell asks for completions of any."""
    if "_KWS_COMPLETE" in os.environ:
        return None
    return next((word for word in arguments if not word.startswith("-")), "")


def function_name(verb: str) -> str:
    """Of the function that is a verb: the verb's own, with _ behind where Python has the word for itself."""
    return f"{verb}_" if keyword.iskeyword(verb) else verb


def main(arguments: list[str] | None = None) -> None:
    """Runs one verb. Exit codes: 0 done, 1 a check failed, 2 bad input, 3 a tool is missing, 4 device or link,
    130 stopped by Ctrl-C."""
    with contextlib.suppress(ValueError):  # not in the main thread: then the signal is another's to handle
        # `timeout` and CI end us so: what Ctrl-C cleans up must go then too, emulators above all.
        signal.signal(signal.SIGTERM, _stop)
    try:
        # Not typer's own error boxes: one line, as for every other error.
        code = build_app(_asked_for(sys.argv[1:] if arguments is None else arguments))(
            arguments, prog_name="kws", standalone_mode=False
        )
    except KwsError as error:
        _complain(str(error), error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of our output went away (`kws … | head`): not an error, and nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (OSError, MemoryError) as error:
        from model_pipeline.files import of_surroundings

        found = of_surroundings(error)
        if found is None:
            raise
        _complain(str(found), found.hint)
        sys.exit(found.exit_code)
    except Exception as error:
        # click's exceptions; typer carries click under its own name or not, depending on its version.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            ui.err.say("{}", error.format_message(), lines=True)
        else:
            _complain(error.format_message(), f"{context.command_path} --help" if context else "kws --help")
        sys.exit(2)
    if code == 130:
        ui.err.say("stopped")
    sys.exit(code if isinstance(code, int) else 0)


def _finite(verb: Callable[..., object]) -> Callable[..., object]:
    """The verb, whose numbers are neither nan nor inf: every check of a range would let nan through."""

    @functools.wraps(verb)
    def checked(**values: object) -> object:
        for name, value in values.items():
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, float) and not math.isfinite(number):
                    raise KwsError(f"{name.replace('_', ' ')} {number}: that is not a number to work with")
        return verb(**values)

    return checked


def _needs_the_project(context: typer.Context) -> None:
    from model_pipeline.native import FIRMWARE

    if context.invoked_subcommand != "version" and not FIRMWARE.is_dir():
        raise MissingTool(
            f"kws was installed without its project: {FIRMWARE} is missing",
            hint="pip install -e FOLDER of a checkout, which has firmware/ and boards/",
        )


def _complain(text: str, hint: str) -> None:
    ui.err.say("[bold red]error:[/] {}", text, lines=True)
    if hint:
        ui.err.say("  [dim]try:[/] {}", hint)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
