"""Who and what the stories are about: characters, places, things, food, weather.

Everything here is plain data plus the few rules that keep it sensible: a character has one name and one set of
pronouns for a whole story, and lives in one of two worlds (village or forest) from which the other characters and the
places of that story are drawn too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from grammar import pick

GIRLS = ("Lily", "Mia", "Anna", "Rosie", "Ella", "Nora", "Lucy", "Ruby", "Molly", "Clara", "Daisy", "Emma")
BOYS = ("Tom", "Ben", "Sam", "Max", "Leo", "Jack", "Tim", "Oscar", "Henry", "Noah", "Peter", "Theo")


def _names(line: str) -> tuple[str, ...]:
    """Split a line of names: fifty quoted ones would be harder to read."""
    return tuple(line.split())


# Names that are rare on purpose: they teach the model to carry through a story a name that it hardly knows.
RARE_GIRLS = _names(
    "Zoe Ada Alice Amy Aria Bella Cora Dora Edith Elsa Eva Faye Fiona Freya Gina Grace Hana Hanna Holly Ida Ines "
    "Iris Isla Ivy Jana Jane Jenny Julia Kate Kira Laura Lena Lina Lola Maria Maya Mina Nina Olga Olivia Paula "
    "Petra Rita Rosa Sara Sofia Sonia Stella Sue Tara Tina Uma Vera Violet Wendy Yara Zara Amelia Sally Polly Susie"
)
RARE_BOYS = _names(
    "Adam Alan Albert Alex Andy Anton Arlo Arthur Aron Bill Billy Bob Carl Charlie Colin Dan David Eddie Eli Elias "
    "Emil Erik Ethan Felix Frank Fred Gabe George Hans Harry Hugo Ian Ivan Jake James Jim Joe John Jonas Karl Ken "
    "Lars Liam Luca Luke Mark Martin Milo Nick Nils Oliver Omar Otto Owen Paul Ravi Rob Simon Toby Victor Will"
)


@dataclass(frozen=True)
class Character:
    """A person or an animal; `str()` of it is what the story calls it."""

    name: str
    female: bool
    kind: str  # "girl", "fox": what it is
    intro: str  # how it first appears: "a little fox named Rusty"
    call: str  # how others address it
    world: str  # "village" or "forest"
    home: str  # where it lives, as a phrase with its preposition
    grown_up: bool = False

    def __str__(self) -> str:
        """Give what the story calls the character."""
        return self.name

    @property
    def he(self) -> str:
        """Give the pronoun of the subject."""
        return "she" if self.female else "he"

    @property
    def him(self) -> str:
        """Give the pronoun of the object."""
        return "her" if self.female else "him"

    @property
    def his(self) -> str:
        """Give the possessive pronoun."""
        return "her" if self.female else "his"

    @property
    def himself(self) -> str:
        """Give the reflexive pronoun."""
        return "herself" if self.female else "himself"


@dataclass(frozen=True)
class Animal:
    """A kind of animal that can be the hero: its home, its names and whether its unnamed form is a she."""

    kind: str
    home: str
    female: bool
    names_she: tuple[str, ...]
    names_he: tuple[str, ...]


ANIMALS = (
    Animal("fox", "in a cozy den under a hill", False, ("Amber", "Sunny"), ("Rusty", "Copper")),
    Animal("rabbit", "in a warm burrow under a bush", True, ("Clover", "Cotton"), ("Thumper", "Benny")),
    Animal("bear", "in a big cave behind a waterfall", False, ("Honey", "Bonnie"), ("Bruno", "Barney")),
    Animal("mouse", "in a tiny hole in an old tree", True, ("Minnie", "Penny"), ("Pip", "Squeak")),
    Animal("squirrel", "at the top of a tall oak tree", True, ("Hazel", "Maple"), ("Nutty", "Chip")),
    Animal("hedgehog", "under a pile of dry leaves", False, ("Prickles", "Thistle"), ("Spike", "Needle")),
    Animal("duck", "in the tall grass by a pond", True, ("Dotty", "Daffy"), ("Dilly", "Puddle")),
    Animal("frog", "on a green leaf in a pond", False, ("Fern", "Flora"), ("Freddy", "Hopper")),
    Animal("owl", "in a hollow tree", True, ("Olive", "Luna"), ("Otis", "Hoot")),
    Animal("turtle", "under a flat stone by the river", False, ("Tilly", "Myrtle"), ("Rocky", "Sheldon")),
    Animal("deer", "in a quiet valley full of ferns", True, ("Willow", "Dawn"), ("Birch", "Dash")),
    Animal("beaver", "in a house of sticks on the river", False, ("Betty", "Brook"), ("Bucky", "Woody")),
    Animal("badger", "in a deep hole between the roots of a tree", False, ("Bea", "Bramble"), ("Basil", "Digger")),
    Animal("bird", "in a round nest in an apple tree", True, ("Robin", "Melody"), ("Peep", "Jay")),
    Animal("dragon", "in a small cave on a mountain", False, ("Ember", "Scarlet"), ("Spark", "Smoky")),
)

SWIMMERS = ("duck", "frog", "turtle", "beaver")
FLYERS = ("owl", "bird", "duck", "dragon")
# Who fits where the others do not, and who is too big to fit: for the plot about being small.
TINY = ("mouse", "bird", "frog", "hedgehog")
LARGE = ("bear", "deer", "badger", "dragon")

CHILD_HOMES = (
    "in a small house at the edge of the village",
    "in a little house near the sea",
    "on a farm with many animals",
    "in a yellow house on a green hill",
    "in a cottage by the river",
    "in a tall house in the town",
    "in a quiet street with many trees",
)


def child(rng: random.Random) -> Character:
    """Draw a child; one in eight has a rare name."""
    female = rng.random() < 0.6
    if rng.random() < 0.125:
        name = rng.choice(RARE_GIRLS if female else RARE_BOYS)
    else:
        name = pick(rng, GIRLS if female else BOYS)
    kind = "girl" if female else "boy"
    return Character(name, female, kind, f"a little {kind} named {name}", name, "village", pick(rng, CHILD_HOMES))


def animal(rng: random.Random, kinds: Sequence[str] = ()) -> Character:
    """Draw an animal, of one of `kinds` if given; some have a name, the others are "the little fox"."""
    what = pick(rng, [one for one in ANIMALS if not kinds or one.kind in kinds])
    if rng.random() < 0.55:
        female = rng.random() < 0.4
        name = pick(rng, what.names_she if female else what.names_he)
        return Character(name, female, what.kind, f"a little {what.kind} named {name}", name, "forest", what.home)
    name = f"the little {what.kind}"
    return Character(name, what.female, what.kind, f"a little {what.kind}", f"little {what.kind}", "forest", what.home)


def another(rng: random.Random, world: str, taken: Sequence[Character]) -> Character:
    """Draw a character of the same world whose name and animal kind are not taken."""
    while True:
        found = child(rng) if world == "village" else animal(rng)
        names = {one.name for one in taken}
        kinds = {one.kind for one in taken}
        if found.name not in names and (world == "village" or found.kind not in kinds):
            return found


def _elder(name: str, female: bool, kind: str, call: str, world: str) -> Character:
    return Character(name, female, kind, name, call, world, "", grown_up=True)


ELDERS = {
    "village": (
        _elder("Grandma", True, "grandma", "Grandma", "village"),
        _elder("Grandpa", False, "grandpa", "Grandpa", "village"),
        _elder("the old baker", False, "baker", "sir", "village"),
        _elder("the farmer", False, "farmer", "sir", "village"),
        _elder("Mrs. Green", True, "woman", "Mrs. Green", "village"),
        _elder("Mr. Brown", False, "man", "Mr. Brown", "village"),
        _elder("the teacher", True, "teacher", "teacher", "village"),
    ),
    "forest": (
        _elder("the wise old owl", True, "owl", "wise owl", "forest"),
        _elder("the old turtle", False, "turtle", "old turtle", "forest"),
        _elder("Mother Bear", True, "bear", "Mother Bear", "forest"),
        _elder("Grandfather Badger", False, "badger", "Grandfather", "forest"),
        _elder("the gray goose", True, "goose", "dear goose", "forest"),
        _elder("the old crow", False, "crow", "old crow", "forest"),
    ),
}


def elder(rng: random.Random, world: str, taken: Sequence[Character], family: bool = False) -> Character:
    """Draw a grown-up of this world that is not of a kind already in the story; `family` asks for a grandparent."""
    kinds = {one.kind for one in taken}
    family = family and world == "village"
    return pick(rng, [one for one in ELDERS[world] if one.kind not in kinds and (not family or "grand" in one.kind)])


@dataclass(frozen=True)
class Place:
    """A place: its name, and with the prepositions for being there and going there."""

    name: str
    at: str
    to: str

    def __str__(self) -> str:
        """Give the name without a preposition."""
        return self.name


PLACES = {
    "village": (
        Place("the garden", "in the garden", "into the garden"),
        Place("the park", "in the park", "to the park"),
        Place("the lake", "by the lake", "to the lake"),
        Place("the beach", "on the beach", "to the beach"),
        Place("the market", "at the market", "to the market"),
        Place("the playground", "at the playground", "to the playground"),
        Place("the old bridge", "by the old bridge", "to the old bridge"),
        Place("the forest", "in the forest", "into the forest"),
    ),
    "forest": (
        Place("the forest", "in the forest", "into the forest"),
        Place("the meadow", "in the meadow", "to the meadow"),
        Place("the river", "by the river", "to the river"),
        Place("the pond", "by the pond", "to the pond"),
        Place("the hill", "on the hill", "up the hill"),
        Place("the big rock", "near the big rock", "to the big rock"),
        Place("the old oak tree", "under the old oak tree", "to the old oak tree"),
    ),
}

TREASURES = (
    "red ball", "blue kite", "little drum", "silver bell", "golden key", "wooden boat", "toy train", "warm scarf",
    "green hat", "picture book", "teddy bear", "music box", "yellow umbrella", "shiny stone", "little lantern",
    "tiny flute", "purple ribbon", "glass marble",
)  # fmt: skip
COLORS = ("red", "blue", "green", "yellow", "golden", "purple", "orange", "white")


@dataclass(frozen=True)
class Food:
    """Something to eat: with its indefinite and its definite article, always a singular."""

    some: str
    the: str

    def __str__(self) -> str:
        """Give the definite form, for a food already mentioned."""
        return self.the


FOODS = tuple(
    Food(f"a{'n' if thing[0] in 'aeiou' else ''} {thing}", f"the {thing}")
    for thing in ("honey cake", "apple pie", "basket of berries", "big sandwich", "bag of nuts", "bowl of cherries",
                  "loaf of warm bread", "jar of honey", "plate of cookies", "sweet melon")
)  # fmt: skip

# Trait, and what it looks like in a sentence after the pronoun.
TRAITS = (
    ("kind", "always helped others"),
    ("curious", "always asked many questions"),
    ("cheerful", "sang a song every morning"),
    ("shy", "did not talk very much"),
    ("playful", "loved to run and jump"),
    ("clever", "liked to think about hard things"),
    ("gentle", "never hurt even a fly"),
    ("brave", "was not afraid of many things"),
    ("careful", "did everything with great care"),
    ("patient", "could wait for a long time"),
)
