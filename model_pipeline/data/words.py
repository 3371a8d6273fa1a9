"""Words that are not keywords: common ones, and ones that sound near the usual commands."""

from pathlib import Path

# Of many sounds and lengths, so that "unknown" is no single sound.
OTHER_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero"),
    *("bed", "bird", "cat", "dog", "happy", "house", "tree", "wow", "marvin", "sheila", "visual", "learn", "follow"),
    *("forward", "backward", "hello", "water", "music", "table", "window", "paper", "people", "morning", "coffee"),
    *("under", "other", "about", "away", "because", "kitchen", "number", "seventy", "yellow", "green", "purple"),
    *("radio", "silver", "animal", "family", "orange", "telephone", "computer", "remember", "tomorrow", "believe"),
)

# What a user's room will say and a model takes for "go", "no", "down", "up", "yes", "left", "right", "stop", "on" or
# "off": three times as many clips of each.
NEAR_WORDS = (
    *("now", "nope", "mode", "most", "low", "show", "bow", "goat", "gold", "good", "dough", "note", "goal", "know"),
    *("town", "dawn", "done", "round", "crown", "doubt", "dumb", "ground", "on", "off", "of", "cup", "pup", "apple"),
    *("open", "puppy", "hop", "yeah", "yet", "guess", "less", "mess", "best", "chess", "lift", "laugh", "let", "leaf"),
    *("lap", "loft", "life", "ride", "light", "rice", "bright", "rate", "fight", "rye", "write", "top", "stock"),
    *("step", "shop", "store", "start", "stuff", "stomp"),
)

COMMON_WORDS = Path(__file__).with_name("common_words.txt")  # everyday words, to find near ones of any keyword among


def as_text(word: str) -> str:
    """``word`` as it is spoken and written out: keywords and folders have ``_`` for a space."""
    return word if word.startswith("[[") else word.replace("_", " ")
