"""The small grammar that the story generator writes in.

A template is a sentence with three marks: `[a|b|c]` picks one alternative (they nest), `{h.his}` reads a field of a
slot, and `a~` becomes "a" or "an" by the word that follows. `^` makes the next letter a capital where the rule of
`tidy` cannot know it. The first alternative is always the likeliest by a factor of two, so that a model which decodes
greedily has a clear favourite at every choice rather than a tie that rounding decides.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([aA])~(?=(\w+))")
# A capital belongs at the start, after a full stop that no quote follows, after an opening quote, and after `^`.
_CAPITAL = re.compile(r'(^"?|[.!?] "?|(?<=[ ,])"|\^)([a-z])')
_DAY = re.compile(r"\bOne (?:\w+ )?(day|morning|afternoon|evening|night)\b")
# Words whose first letter misleads about their first sound.
_SOUND_IS_CONSONANT = ("unicorn", "useful", "one")
_SOUND_IS_VOWEL = ("hour", "honest")


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """Pick one option; the first weighs twice as much as each of the others."""
    idx = rng.randrange(len(options) + 1)
    return options[max(0, idx - 1)]


def expand(rng: random.Random, template: str) -> str:
    """Resolve the `[a|b]` choices of a template, innermost first."""
    while True:
        chosen = _CHOICE.sub(lambda found: pick(rng, found.group(1).split("|")), template)
        if chosen == template:
            return chosen
        template = chosen


def _article(found: re.Match[str]) -> str:
    word = found.group(2).lower()
    vowel = word.startswith(_SOUND_IS_VOWEL) or (word[0] in "aeiou" and not word.startswith(_SOUND_IS_CONSONANT))
    return found.group(1) + ("n " if vowel else " ")


def tidy(sentence: str) -> str:
    """Set articles and capitals; expects one or more whole sentences."""
    sentence = _ARTICLE.sub(_article, sentence)
    return _CAPITAL.sub(lambda found: found.group(1).replace("^", "") + found.group(2).upper(), sentence)


class Story:
    """One story under construction: its random numbers, its cast and props by slot name, its paragraphs so far."""

    def __init__(self, rng: random.Random) -> None:
        """Start an empty story that draws every choice from `rng`."""
        self.rng = rng
        self.slots: dict[str, Any] = {}
        self.day_is_set = False
        self.used = ""  # the templates said so far, for rules such as "name the friend only once"
        self._paragraphs: list[list[str]] = [[]]

    def pick(self, *options: T) -> T:
        """Pick one of the options with the grammar's weights."""
        return pick(self.rng, options)

    def suitable(self, bad: Mapping[str, Sequence[str]], *options: tuple[str, ...]) -> tuple[str, ...]:
        """Pick an option whose first word `bad` does not forbid to the hero's kind."""
        kind = self.slots["h"].kind
        return self.pick(*(one for one in options if kind not in bad.get(one[0], ())))

    def absent(self, *options: tuple[str, ...]) -> tuple[str, ...]:
        """Pick an option whose first word names no kind of character that is already in the story."""
        kinds = {self.slots[slot].kind for slot in "hfg"}
        return self.pick(*(one for one in options if kinds.isdisjoint(one[0].split())))

    def chance(self, probability: float) -> bool:
        """Say yes with the given probability."""
        return self.rng.random() < probability

    def fill(self, template: str) -> str:
        """Expand and fill one template, without tidying: for phrases that go into other templates."""
        return expand(self.rng, template).format(**self.slots)

    def say(self, *templates: str) -> None:
        """Add one of the templates to the current paragraph."""
        template = self.pick(*templates)
        self.used += template
        sentence = tidy(self.fill(template))
        if self.day_is_set:
            # The opening has named a day already: the plot's first "One day" happens on it.
            sentence, found = _DAY.subn(r"That \1", sentence, count=1)
            self.day_is_set = not found
        self._paragraphs[-1].append(sentence)

    def maybe(self, *templates: str) -> None:
        """Add one of the templates, or in two cases of five nothing."""
        if self.chance(0.6):
            self.say(*templates)

    def paragraph(self) -> None:
        """Begin a new paragraph."""
        if self._paragraphs[-1]:
            self._paragraphs.append([])

    def text(self) -> str:
        """Give the story so far: sentences by spaces, paragraphs by an empty line."""
        return "\n\n".join(" ".join(sentences) for sentences in self._paragraphs if sentences)
