"""Words that are not keywords: common ones, and ones that sound near the usual commands."""

# Of many sounds and lengths, so that "unknown" is no single sound; near ones ("bow" to "go", "town" to "down") are
# there because they are what a user's room will say.
OTHER_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero"),
    *("bed", "bird", "cat", "dog", "happy", "house", "tree", "wow", "marvin", "sheila", "visual", "learn", "follow"),
    *("forward", "backward", "hello", "water", "music", "table", "window", "paper", "people", "morning", "coffee"),
    *("now", "nope", "mode", "most", "low", "show", "bow", "goat", "gold", "good", "dough", "note"),
    *("town", "dawn", "done", "round", "crown", "doubt", "cup", "pup", "apple", "open", "off", "on"),
    *("yeah", "yet", "guess", "less", "mess", "best", "chess", "lift", "laugh", "let", "leaf", "lap", "loft"),
    *("ride", "light", "rice", "bright", "rate", "fight", "rye", "top", "stock", "step", "shop", "store", "start"),
    *("under", "other", "about", "away", "because", "kitchen", "number", "seventy", "yellow", "green", "purple"),
    *("radio", "silver", "animal", "family", "orange", "telephone", "computer", "remember", "tomorrow", "believe"),
)
