#!/bin/sh
# Installs what micro-kws needs and is not there yet: Debian packages (as root or by sudo) and the virtual environment
# .venv. Run again at any time: what is in place costs nothing. Usage: sh host_tools/setup.sh [--browser] [extras, default
# train,teacher,voices,mic,search,web,mlflow,dev]. --browser: what only tests use too: Chromium (110 MB) for kws web's page,
# and ccache, so that what many of them build is compiled once.
set -eu
cd "$(dirname "$0")/.."
browser=
if [ "${1:-}" = --browser ]; then
  browser=wanted
  shift
fi
extras=${1:-train,teacher,voices,mic,search,web,mlflow,dev}
say() { printf 'setup: %s\n' "$*" >&2; }

# command that must exist = package that brings it
wanted="
cc=gcc
c++=g++
cmake=cmake
arm-none-eabi-gcc=gcc-arm-none-eabi
arm-none-eabi-size=binutils-arm-none-eabi
/usr/lib/arm-none-eabi/include/stdio.h=libnewlib-arm-none-eabi
/usr/include/newlib/c++=libstdc++-arm-none-eabi-newlib
qemu-system-arm=qemu-system-arm
clang=clang
wasm-ld=lld
espeak-ng=espeak-ng
flite=flite
festival=festival
/usr/share/festival/voices/english/kal_diphone=festvox-kallpc16k
/usr/share/festival/voices/english/ked_diphone=festvox-kdlpc16k
/usr/share/festival/voices/us/cmu_us_slt_arctic_hts=festvox-us-slt-hts
/usr/share/games/fortunes/computers=fortunes
"
missing=
for pair in $wanted; do
  what=${pair%%=*}
  case $what in
    /*) [ -e "$what" ] || missing="$missing ${pair#*=}" ;;
    *) command -v "$what" >/dev/null 2>&1 || missing="$missing ${pair#*=}" ;;
  esac
done
# A microphone is heard by PortAudio, whose folder is named by the machine's architecture.
case ,$extras, in
  *,mic,*) [ -n "$(find /usr/lib /usr/local/lib -maxdepth 2 -name 'libportaudio.so*' 2>/dev/null)" ] || missing="$missing libportaudio2" ;;
esac
# Debian's python3 has no ensurepip without python3-venv.
if ! command -v uv >/dev/null 2>&1 && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  missing="$missing python3-venv"
fi
quicker=
if [ -n "$browser" ]; then
  command -v ccache >/dev/null 2>&1 || quicker=ccache
  for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then browser=; fi
  done
  # Nothing but some tests needs it.
  if ! { command -v apt-get && { [ "$(id -u)" = 0 ] || command -v sudo; }; } >/dev/null 2>&1; then
    [ -z "$browser" ] || say "no Chromium is here, and it can't be installed: the tests of kws web's page are skipped"
    [ -z "$quicker" ] || say "no ccache is here, and it can't be installed: the tests take longer"
    browser=
    quicker=
  fi
fi

if [ -n "$missing$browser$quicker" ]; then
  if ! command -v apt-get >/dev/null 2>&1; then
    say "these are missing:$missing"
    say "this is neither Debian nor Ubuntu: install them by your own package manager, then run again"
    exit 3
  fi
  root=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { say "missing:$missing; run 'apt-get install$missing' as root"; exit 3; }
    root=sudo
  fi
  export DEBIAN_FRONTEND=noninteractive
  $root apt-get update -qq
  missing="$missing $quicker"
  if [ -n "$browser" ]; then
    # Ubuntu has it as a snap alone.
    if apt-cache show chromium >/dev/null 2>&1; then
      missing="$missing chromium"
    else
      say "this system has no package of Chromium: the tests of kws web's page are skipped (Google Chrome would do)"
    fi
  fi
  if [ -n "${missing# }" ]; then
    say "apt-get install$missing"
    # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
  fi
fi

python=python3
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python 3.11 or newer is needed"; exit 3; }
stamp=.venv/.kws-setup
state=$(cat pyproject.toml "$0" | cksum)-$extras-$($python -V)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ] && [ -x .venv/bin/kws ]; then
  exit 0
fi
if command -v uv >/dev/null 2>&1; then
  say "making .venv with uv"
  [ -x .venv/bin/python ] || uv venv -q --seed --python "$python" .venv
  # As pip does: each start of TensorFlow would else take seven seconds more where no bytecode is written later.
  uv pip install -q --compile-bytecode --python .venv/bin/python -e ".[$extras]"
else
  say "making .venv with pip: 2.5 GB, one to three minutes"
  [ -x .venv/bin/python ] || $python -m venv .venv
  .venv/bin/python -m pip install --progress-bar on --disable-pip-version-check -e ".[$extras]" >&2
fi
printf '%s' "$state" > "$stamp"
say "ready"
