"""PlatformIO development platform that needs nothing from PlatformIO's registry.

Compilers come from PATH. SCons, which PlatformIO would download, comes from PyPI's ``scons``: the folder tool-scons
beside this file is a package that only calls it.
"""

import importlib.util
from pathlib import Path

from platformio.platform.base import PlatformBase

HERE = Path(__file__).resolve().parent


class MicrokwsPlatform(PlatformBase):
    def configure_default_packages(self, options, targets):
        if importlib.util.find_spec("SCons"):
            self.packages["tool-scons"] = {
                "owner": "platformio",
                "optional": False,
                "version": f"symlink://{HERE / 'tool-scons'}",
            }
        return super().configure_default_packages(options, targets)
