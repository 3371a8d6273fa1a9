"""A development platform for plain programs, by the compilers of PATH and the SCons of our own platform."""

import importlib.util
from pathlib import Path

from platformio.platform.base import PlatformBase

SCONS = Path(__file__).resolve().parents[3] / "firmware" / "platform" / "tool-scons"


class KwsplainPlatform(PlatformBase):
    def configure_default_packages(self, options, targets):
        if importlib.util.find_spec("SCons"):
            self.packages["tool-scons"] = {
                "owner": "platformio",
                "optional": False,
                "version": f"symlink://{SCONS}",
            }
        return super().configure_default_packages(options, targets)
