"""Robot Framework keywords for a device under Renode: the checks of host_tools.check.selftest over the link's TCP port.

Robot Framework runs with its own Python; the project has to be installed there: pip install -e '.[train]'.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from host_tools.check import selftest  # noqa: E402
from host_tools.check.device import Device, Reference  # noqa: E402
from host_tools.image import renode  # noqa: E402
from host_tools.link import stream  # noqa: E402
from host_tools.link.events import Detection  # noqa: E402
from host_tools.link.session import Link  # noqa: E402


class KwsLibrary:
    """One device a test."""

    ROBOT_LIBRARY_SCOPE = "TEST"

    def __init__(self) -> None:
        self._device: Device | None = None

    def connect_to_device(self, port: int, model: str = "firmware/model", timeout: float = 60.0) -> str:
        """Opens a session on 127.0.0.1:``port``; returns what the firmware says of itself."""
        link = Link.open(f"socket://127.0.0.1:{int(port)}", float(timeout))
        self._device = Device(link, Reference(ROOT / model))
        return selftest.hello(self._device)

    def disconnect_from_device(self) -> None:
        """Ends the session, if there is one."""
        if self._device is not None:
            self._device.link.close()
            self._device = None

    def device_should_pass(self, check: str, **values: int) -> str:
        """Runs one check of host_tools.check.selftest by its name, such as ``exact inference``."""
        assert self._device is not None, "Connect To Device comes first"
        names = {c.__name__.replace("_", " "): c for c in selftest.CHECKS}
        for name, value in values.items():
            setattr(self._device, name, int(value))
        return names[check.lower()](self._device)

    def recording(self, name: str) -> str:
        """A file as Renode's monitor takes it, with its whole path: Renode runs in a folder of its own."""
        folders = (Path.cwd(), Path(os.environ.get("PWD", ".")), ROOT)
        found = next((folder / name for folder in folders if (folder / name).is_file()), None)
        assert found is not None, f"no recording {name} in {', '.join(str(f) for f in folders)}"
        return renode.path(found.resolve())

    def microphone_should_hear(self, word: str, seconds: float = 30.0) -> None:
        """Listens to the board's own microphone until ``word`` is detected."""
        import time

        assert self._device is not None, "Connect To Device comes first"
        labels = self._device.info().labels
        heard = []
        deadline = time.monotonic() + float(seconds)
        for event in stream.listen(self._device.link):
            if isinstance(event, Detection):
                heard.append(labels[event.label])
                if heard[-1] == word:
                    return
            if time.monotonic() > deadline:
                break
        raise AssertionError(f"{word!r} was not heard, but {heard or 'nothing'}")
