"""How much of everything ``kws run`` makes of a project: ``quick`` takes minutes, ``best`` an hour or more."""

from __future__ import annotations

from collections.abc import Sequence

from model_pipeline.config import Config, with_settings
from model_pipeline.errors import KwsError

QUALITIES = ("quick", "best")
_CLIPS, _SENTENCES, _EXAMPLES = 2, 2, 5  # times as many with "best"


def with_quality(config: Config, quality: str, settings: Sequence[str] = ()) -> Config:
    """``config``, which is the quick recipe, with more of everything where that is asked for; then with ``settings``.

    Raises:
        KwsError: no such quality, or a wrong setting.
    """
    if quality not in QUALITIES:
        raise KwsError(f"there is no quality {quality!r}", hint=" or ".join(QUALITIES))
    more = []
    if quality == "best":
        more = [
            f"synth.clips_per_keyword={_CLIPS * config.synth.clips_per_keyword}",
            f"synth.unknown_clips={_CLIPS * config.synth.unknown_clips}",
            f"talk.sentences={_SENTENCES * config.talk.sentences}",
            f"scenes.examples={_EXAMPLES * config.scenes.examples}",
        ]
    return with_settings(config, [*more, *settings])
