"""The story generator: text of our own, from a seed, for a model that may be given away with the package.

`story(seed)` is a pure function: the same seed gives the same story on every machine and Python version from 3.10 on.
A story is an opening, one of the plots of `plots_alone`, `plots_friends` and `plots_adventure`, and a closing. Run as a
script it prints stories; with `--check` it looks for slips of grammar over many seeds.
"""

from __future__ import annotations

import argparse
import random
import re
import zlib
from collections.abc import Callable, Iterator

import plots_adventure
import plots_alone
import plots_friends
from cast import FOODS, LARGE, PLACES, TINY, TRAITS, TREASURES, Character, animal, another, child, elder
from grammar import Story, pick

PLOTS: tuple[Callable[[Story], None], ...] = (
    plots_alone.lost, plots_friends.share, plots_alone.brave, plots_friends.new_friend, plots_alone.skill,
    plots_adventure.rescue, plots_alone.storm, plots_friends.birthday, plots_alone.garden, plots_adventure.wish,
    plots_alone.honest, plots_adventure.race, plots_alone.moon, plots_adventure.noise, plots_alone.small,
    plots_adventure.treasure, plots_friends.build, plots_friends.quarrel, plots_friends.sick_friend,
    plots_friends.helping,
)  # fmt: skip
# Training reads the seeds from 0 on; these are never trained on.
VALIDATION_SEED = 1_000_000_000


def _favourite(hero: Character, n: int, salt: str) -> int:
    """Give the hero's own favourite among `n`: so a name in the prompt decides more than chance would."""
    return zlib.crc32(f"{salt} {hero.call.lower()}".encode()) % n


def _choose_plot(rng: random.Random, hero: Character) -> Callable[[Story], None]:
    """Choose a plot; in two of five stories it is the hero's favourite."""
    if rng.random() < 0.4:
        return PLOTS[_favourite(hero, len(PLOTS), "plot")]
    return rng.choice(PLOTS)


def _cast(rng: random.Random) -> tuple[Story, Callable[[Story], None]]:
    """Draw the slots of a story: who, where, with what."""
    s = Story(rng)
    hero = child(rng) if rng.random() < 0.55 else animal(rng)
    plot = _choose_plot(rng, hero)
    if plot is plots_alone.small and hero.world == "forest":
        hero = animal(rng, TINY)
        friend = animal(rng, LARGE)
    else:
        friend = another(rng, hero.world, [hero])
    place, other_place = rng.sample(PLACES[hero.world], 2)
    food, other_food = rng.sample(FOODS, 2)
    trait, deed = TRAITS[_favourite(hero, len(TRAITS), "trait")] if rng.random() < 0.5 else pick(rng, TRAITS)
    treasure = TREASURES[_favourite(hero, len(TREASURES), "x")] if rng.random() < 0.4 else pick(rng, TREASURES)
    s.slots = {
        "h": hero, "f": friend, "g": elder(rng, hero.world, [hero, friend], family=plot is plots_alone.moon),
        "p": place, "q": other_place, "x": treasure, "e": food, "e2": other_food, "trait": trait, "deed": deed,
        "moral": "",
    }  # fmt: skip
    return s, plot


def _opening(s: Story, plot: Callable[[Story], None]) -> None:
    """Introduce the hero in one of many ways; leave the story ready for its plot."""
    hero: Character = s.slots["h"]
    named = not hero.name.startswith("the ")
    s.slots["intro"] = hero.intro
    if s.chance(0.35):
        s.slots["intro"] = s.fill("a~{trait} " + hero.intro[2:])
        s.used += "{trait}"
    homed = False
    style = s.rng.random()
    if style < 0.5:
        s.say(
            "Once upon a time, there was {intro}.",
            "Once upon a time there was {intro}.",
            "Once upon a time, there lived {intro}.",
        )
    elif style < 0.56:
        homed = True
        s.say(
            "Once upon a time, {h.home}, there lived {intro}.", "Once upon a time there was {intro} who lived {h.home}."
        )
    elif style < 0.62:
        homed = True
        s.say(
            "{h.home}, there lived {intro}.",
            "{h.home} lived {intro}.",
            "In [the forest|a deep, green forest|the woods], there lived {intro}."
            if hero.world == "forest"
            else "In [a small village|a little town], there lived {intro}.",
        )
    elif style < 0.68:
        s.say(
            "There once was {intro}.",
            "A long time ago, there was {intro}.",
            "Long ago, there lived {intro}.",
            "There was once {intro}.",
        )
    elif style < 0.82:
        homed = True
        s.slots["what"] = hero.kind
        if not s.rng.randrange(6) and plot is not plots_friends.new_friend:
            s.say("{h} and {f} were good friends.", "{h} and {f} played together every day.")
        elif named:
            s.say(
                "{h} was a~{trait} little {what} who lived {h.home}.",
                "{h} was a little {what}. {h.he} lived {h.home}.",
                "{h} lived {h.home}.",
                "{h} loved [to play|to sing|to run] {q.at}.",
                "{h} was a little {what} who {deed}.",
                "{h} went {q.to} every day.",
            )
        else:
            s.say(
                "{h} lived {h.home}.",
                "{h} was very {trait}.",
                "{h} loved [to play|to sing|to run] {q.at}.",
                "{h} lived all alone {h.home}.",
                "{h} went {q.to} every day.",
            )
    elif style < 0.9:
        s.say(
            "One day, {h} woke up early.",
            "One day, {h} was playing {p.at}.",
            "One morning, {h} woke up and smiled.",
            "One day, {intro} sat {p.at}.",
            "One day, {h} looked up at the sky.",
        )
        s.day_is_set = True
        s.maybe("The sun was shining, and the birds were singing.", "It was a beautiful day.")
    elif style < 0.96:
        s.say(
            "It was a [sunny|cold|warm|windy] [morning|day] in [spring|summer|autumn]. {h} was {q.at}.",
            "On a [sunny|windy|warm] [summer|spring|autumn] day, {intro} was playing {q.at}.",
            "It was a [sunny|quiet|fine] day, and {h} was happy.",
        )
        s.day_is_set = True
    else:
        s.say("Every morning, {h} ran {q.to}.", "Every day, {h} played {q.at}.")
    if not homed:
        s.maybe("{h.he} lived {h.home}.", "{h} lived {h.home}.")
    if "{trait}" in s.used:
        s.maybe("{h} {deed}.", "Everyone liked {h.him}.")
    else:
        s.maybe("{h.he} was very {trait} and {deed}.", "{h} {deed}.", "Everyone liked {h.him}.")


def _friend(s: Story, plot: Callable[[Story], None]) -> None:
    """Introduce the friend, unless meeting is the plot itself."""
    if plot in (plots_friends.new_friend, plots_friends.quarrel) or "{f}" in s.used:
        return
    s.say(
        "{h.his} best friend was {f.intro}.",
        "{h} had a good friend, {f.intro}.",
        "{h.he} often played with {f.intro}.",
        "{h} had a friend. It was {f.intro}.",
    )


def _closing(s: Story) -> None:
    """Say what was learned, in most stories, and end."""
    s.paragraph()
    form = s.rng.random()
    if form < 0.7:
        s.say(
            "And so {h} learned that {moral}.",
            "{h} never forgot that {moral}.",
            "That day, {h} learned that {moral}.",
            "Now {h} knew that {moral}.",
            '"Now I know that {moral}," said {h}.',
        )
    else:
        s.say(
            "And from that day on, {h} and {f} were the best of friends.",
            "It was a day that {h} never forgot.",
            "They were all very happy.",
        )
    if s.chance(0.4):
        s.say("The end.", "And they lived happily ever after.")


def story(seed: int) -> str:
    """Write the story of this seed: 80 to 250 words in paragraphs."""
    s, plot = _cast(random.Random(seed))
    _opening(s, plot)
    _friend(s, plot)
    plot(s)
    _closing(s)
    return s.text()


def stories(start: int, count: int) -> Iterator[str]:
    """Write the stories of `count` seeds from `start` on."""
    return (story(seed) for seed in range(start, start + count))


# Each pattern is a slip that no story may hold.
SLIPS = {
    "a where an belongs": re.compile(r"\b[Aa] [aeio]\w"),
    "an where a belongs": re.compile(r"\b[Aa]n [^aeiouAEIOU]"),
    "mark left over": re.compile(r"[\[\]{}|~^]"),
    "word twice": re.compile(r"\b(\w+) \1\b", re.IGNORECASE),
    "small letter after a full stop": re.compile(r"(?<!Mr)(?<!Mrs)[.!?] [a-z]"),
    "small letter at the start": re.compile(r'(?:^|\n\n)"?[a-z]'),
    "space before a mark": re.compile(r" [.,!?]|  "),
    "no full stop": re.compile(r'[^.!?"\n](?=\n|$)'),
}


def slips(text: str) -> list[str]:
    """List the slips found in a story, as `what: where`."""
    return [
        f"{what}: {text[max(0, m.start() - 20) : m.end() + 20]!r}"
        for what, p in SLIPS.items()
        for m in p.finditer(text)
    ]


def main() -> None:
    """Print stories, or check many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=3, help="number of stories")
    parser.add_argument("--check", action="store_true", help="print slips and word counts instead of the stories")
    args = parser.parse_args()
    n_words = []
    for text in stories(args.start, args.count):
        if args.check:
            n_words.append(len(text.split()))
            for slip in slips(text):
                print(slip)
        else:
            print(text, end="\n\n* * *\n\n")
    if args.check:
        n_words.sort()
        median = n_words[len(n_words) // 2]
        print(f"{len(n_words)} stories, words: least {n_words[0]}, median {median}, most {n_words[-1]}")


if __name__ == "__main__":
    main()
