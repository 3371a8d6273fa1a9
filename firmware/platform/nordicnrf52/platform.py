"""The official platform nordicnrf52 as it is installed here. Where it is not, PlatformIO would look for it in its
registry and, without a network, end after a minute with an empty error: this says at once what is missing.
"""

import importlib.util
import os
import socket
from pathlib import Path

from platformio import __registry_mirror_hosts__ as registries
from platformio.exception import UserSideException
from platformio.package.manager.platform import PlatformPackageManager
from platformio.platform.factory import PlatformFactory

NEEDED = "nordicnrf52@^10"
INSTALL = f'pio pkg install -g -p "{NEEDED}"'
SCONS = Path(__file__).resolve().parent.parent / "tool-scons"
PATIENCE = 3.0


def official():
    """An instance of the installed platform, which also says which of its packages are missing."""
    package = PlatformPackageManager().get_package(NEEDED)
    if package is None:
        raise UserSideException(
            f"this environment needs PlatformIO's platform {NEEDED}, which is not installed: {INSTALL} (with internet)"
        )
    theirs = type(PlatformFactory.new(package))

    class Checked(theirs):
        def configure_default_packages(self, options, targets):
            if importlib.util.find_spec("SCons"):  # from PyPI, as our other boards have it
                self.packages["tool-scons"] = {
                    "owner": "platformio",
                    "optional": False,
                    "version": f"symlink://{SCONS}",
                }
            result = super().configure_default_packages(options, targets)
            needed = (name for name, values in self.packages.items() if not values.get("optional"))
            missing = [name for name in needed if name != "tool-scons" and not self.get_package(name)]
            if missing and not registry_is_there():
                raise UserSideException(
                    f"{NEEDED} lacks its packages {', '.join(missing)}, and PlatformIO's registry is not reached: "
                    "run this once with internet"
                )
            return result

    return Checked(os.path.join(package.path, "platform.json"))


def registry_is_there():
    """Whether one answers. Behind a proxy only PlatformIO itself can find out."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    for host in registries:
        try:
            socket.create_connection((host, 443), PATIENCE).close()
            return True
        except OSError:
            continue
    return False


class Kws_nordicnrf52Platform:  # PlatformIO makes this name out of the platform's
    def __new__(cls, manifest_path):
        return official()
