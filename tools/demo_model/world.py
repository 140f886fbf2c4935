"""Who and what is in a story, where it is, and how is it put into words?

A `Story` owns a small simulated world: beings with a place, things with a holder, the weather and
the hour.  Templates are `str.format` strings over those objects.  `{h}` names the being, `{h.s}`,
`{h.o}` and `{h.p}` choose between name and pronoun (subject, object, possessive) so that a pronoun
never has two possible owners.  `|` separates sentences; each is capitalised on its own.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import words

Option = TypeVar("Option")
_ONE_DAY = re.compile(r"^one (day|morning|afternoon|evening),")
_PRONOUNS = {"f": ("she", "her", "her", "herself"), "m": ("he", "him", "his", "himself")}


def with_article(phrase: str) -> str:
    """`a` or `an` by sound: "an apple", "a useful rope", "an hour"."""
    first = phrase.split()[0].lower()
    if first.startswith(("hour", "honest")):
        return "an " + phrase
    if first in ("useful", "one", "unicorn", "used"):
        return "a " + phrase
    return ("an " if first[0] in "aeiou" else "a ") + phrase


@dataclass(frozen=True)
class Place:
    """A spot of the world in the forms a sentence needs."""

    spot: words.Spot

    def __str__(self) -> str:
        return "the " + self.spot.noun

    @property
    def at(self) -> str:
        return f"{self.spot.prep} the {self.spot.noun}"

    @property
    def to(self) -> str:
        return f"to the {self.spot.noun}"

    @property
    def noun(self) -> str:
        return self.spot.noun


@dataclass(eq=False)
class Thing:
    """A countable object: `{o}` "the red kite", `{o.a}` "a red kite", `{o.noun}` "kite"."""

    noun: str
    adjective: str
    category: str

    def __str__(self) -> str:
        return f"the {self.adjective} {self.noun}"

    @property
    def a(self) -> str:
        return with_article(f"{self.adjective} {self.noun}")

    @property
    def one(self) -> str:
        return with_article(self.noun)

    @property
    def the(self) -> str:
        return f"the {self.noun}"

    @property
    def full(self) -> str:
        return f"{self.adjective} {self.noun}"


@dataclass(eq=False)
class Food:
    """Something to eat: `{b}` "a loaf of bread", `{b.the}` "the bread"."""

    some: str
    the: str

    def __str__(self) -> str:
        return self.some


@dataclass(eq=False)
class Being:
    """A person or speaking animal; every property that names it tells the story so."""

    name: str
    noun: str  # "girl", "baker", "fox"
    gender: str
    kind: str  # "child", "adult" or "animal"
    trait: str
    story: Story = field(repr=False)
    named: bool = True  # False: known only as "the fox"
    moved: str = "walked"
    home: str = "house"
    hobby: tuple[str, str] = ("", "")
    trade: words.Trade | None = None

    def __str__(self) -> str:
        self.story.mention(self)
        return self.name

    @property
    def s(self) -> str:
        return self._smart(0)

    @property
    def o(self) -> str:
        return self._smart(1)

    @property
    def p(self) -> str:
        return self._smart(2)

    @property
    def he(self) -> str:
        return _PRONOUNS[self.gender][0]

    @property
    def him(self) -> str:
        return _PRONOUNS[self.gender][1]

    @property
    def his(self) -> str:
        return _PRONOUNS[self.gender][2]

    @property
    def hers(self) -> str:
        return "hers" if self.gender == "f" else "his"

    @property
    def self(self) -> str:
        return _PRONOUNS[self.gender][3]

    @property
    def own(self) -> str:
        """The name's possessive, "Mara's"."""
        self.story.mention(self)
        return self.name + "'s"

    @property
    def intro(self) -> str:
        """First mention: "a clever fox named Rusty", "a brave girl named Mara"."""
        self.story.mention(self)
        phrase = with_article(f"{self.trait} {self.noun}")
        if not self.named:
            return phrase
        return f"{phrase} {self.story.rng.choice(('named', 'called', 'named'))} {self.name}"

    @property
    def tag(self) -> str:
        """The being without its name, "a brave girl"; counts as a mention."""
        self.story.mention(self)
        return with_article(f"{self.trait} {self.noun}")

    @property
    def plain(self) -> str:
        """First mention without the trait: "a fox named Rusty"."""
        self.story.mention(self)
        phrase = with_article(self.noun)
        return f"{phrase} named {self.name}" if self.named else phrase

    def _smart(self, case: int) -> str:
        if self.story.pronoun_is_clear(self) and self.story.rng.random() < 0.8:
            self.story.mention(self)
            return _PRONOUNS[self.gender][case]
        return self.own if case == 2 else str(self)


class Story:
    """The world's state and the text told so far.

    Attributes: cast maps template letters to objects; where maps beings to places; holder maps
    things to beings or places; facts holds (question, answer) pairs that are true at the end.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.cast: dict[str, Any] = {}
        self.where: dict[Being, Place] = {}
        self.holder: dict[Thing, Being | Place] = {}
        self.facts: list[tuple[str, str]] = []
        self.season = rng.choice(tuple(words.SEASONS))
        self.weather = rng.choice(words.SEASONS[self.season])
        self.moral = ""
        self.together = True  # hero and friend are in one place at the end
        self.at_home = False  # the hero is at home at the end
        self.night_told = False
        self.flavor = 0  # which options are likely, set from the hero's nature
        self._opener: tuple[str, ...] = ()  # first sentence of the next paragraph
        self._day_told = False
        self._paragraphs: list[list[str]] = [[]]
        self._previous: set[Being] = set()
        self._current: set[Being] = set()
        self._taken: set[str] = set()

    # ---- text -------------------------------------------------------------------------------
    def mention(self, being: Being) -> None:
        self._current.add(being)

    def pronoun_is_clear(self, being: Being) -> bool:
        """True if `being` was just mentioned and nobody else could be meant."""
        near = self._previous | self._current
        return being in near and not any(
            other is not being and other.gender == being.gender for other in near
        )

    def tell(self, *options: str, **more: object) -> None:
        """Append one of the template options, rendered."""
        for template in self.choose(options).split("|"):
            self._current = set()
            sentence = template.strip().format(**{**self.cast, **more})
            if self._day_told:
                sentence = _ONE_DAY.sub(r"that \1,", sentence)
            self._paragraphs[-1].append(_capitalised(sentence))
            self._previous = self._current

    def maybe(self, chance: float, *options: str, **more: object) -> None:
        if self.rng.random() < chance:
            self.tell(*options, **more)

    def paragraph(self) -> None:
        if self._paragraphs[-1]:
            self._paragraphs.append([])
        self._previous = set()
        if self._opener:
            opener, self._opener = self._opener, ()
            self.tell(*opener)
            self._day_told = True

    def open_next_paragraph(self, *options: str) -> None:
        """Let the next paragraph begin with one of the options; later "one day"s refer to it."""
        self._opener = options

    def fact(self, question: str, answer: str, **more: object) -> None:
        self._current = set()
        ask, reply = (_capitalised(t.format(**{**self.cast, **more})) for t in (question, answer))
        self.facts.append((ask, reply))

    def text(self) -> str:
        return "\n\n".join(" ".join(p) for p in self._paragraphs if p)

    def choose(self, options: Sequence[Option], first: int | None = None) -> Option:
        """One option; its odds are rank^-0.8, counted from index `first` (default: `flavor`).

        Uneven odds, tied to what was told before, let greedy decoding differ between prompts and
        keep the best continuation clearly ahead of the second.
        """
        start = self.flavor if first is None else first
        weights = [(1 + (i - start) % len(options)) ** -0.8 for i in range(len(options))]
        return self.rng.choices(options, weights)[0]

    # ---- world ------------------------------------------------------------------------------
    def fresh(self, options: Sequence[str], first: int | None = None) -> str:
        """One of the options not used in this story yet."""
        left = [o for o in options if o not in self._taken] or list(options)
        pick = self.choose(left, first)
        self._taken.add(pick)
        return pick

    def place(self, region: str = "") -> Place:
        spots = [s for s in words.PLACES if not region or s.region == region]
        noun = self.fresh([s.noun for s in spots])
        return Place(next(s for s in spots if s.noun == noun))

    def thing(self, *categories: str) -> Thing:
        category = self.rng.choice(categories or tuple(words.THINGS))
        nouns, adjectives = words.THINGS[category]
        return Thing(self.fresh(nouns), self.choose(adjectives), category)

    def food(self) -> Food:
        return Food(*self.choose(words.FOODS))

    def sight(self, place: Place) -> str:
        return self.fresh(place.spot.sights)

    def sky(self) -> str:
        return self.fresh(words.WEATHER[self.weather])

    def human_name(self, gender: str) -> str:
        if self.rng.random() < 0.25:
            return self._invented_name(gender)
        return self.fresh(words.GIRLS if gender == "f" else words.BOYS)

    def _invented_name(self, gender: str) -> str:
        ends = words.SYLLABLES_END_F if gender == "f" else words.SYLLABLES_END_M
        middle = self.rng.choice(words.SYLLABLES_MID.split())
        name = (
            self.rng.choice(words.SYLLABLES_START.split()) + middle + self.rng.choice(ends.split())
        )
        self._taken.add(name)
        return name

    def opening_turn(self, being: Being) -> int:
        """Where the options about a being's home begin to be likely."""
        return _number(being.name if being.kind == "child" else being.noun)

    def _trait(self, word: str) -> str:
        """A trait that suits the animal or trade, or that a name often goes with."""
        likely = words.NATURE.get(word)
        first = words.GOOD_TRAITS.index(likely) if likely else _number(word)
        return self.fresh(words.GOOD_TRAITS, first)

    def _hobby(self, word: str) -> tuple[str, str]:
        return self.choose(words.HOBBIES, _number(word))

    def pick_gender(self, unlike: Being | None) -> str:
        if unlike is not None and self.rng.random() < 0.7:
            return "m" if unlike.gender == "f" else "f"
        return self.rng.choice("fm")

    def child(self, unlike: Being | None = None) -> Being:
        gender = self.pick_gender(unlike)
        name = self.human_name(gender)
        return Being(
            name=name,
            noun="girl" if gender == "f" else "boy",
            gender=gender,
            kind="child",
            trait=self._trait(name),
            story=self,
            moved=self.rng.choice(("walked", "ran", "walked", "hurried")),
            hobby=self._hobby(name),
        )

    def adult(self, unlike: Being | None = None) -> Being:
        gender = self.pick_gender(unlike)
        trades = [t for t in words.TRADES if t.gender in ("", gender)]
        noun = self.fresh([t.noun for t in trades])
        trade = next(t for t in trades if t.noun == noun)
        return Being(
            name=self.human_name(gender),
            noun=noun,
            gender=gender,
            kind="adult",
            trait=self._trait(noun),
            story=self,
            hobby=(trade.works, trade.worked),
            trade=trade,
        )

    def animal(
        self, unlike: Being | None = None, named: bool | None = None, small: bool | None = None
    ) -> Being:
        gender = self.pick_gender(unlike)
        kinds = [a for a in words.ANIMALS if small is None or a.small == small]
        noun = self.fresh([a.noun for a in kinds])
        kind = next(a for a in kinds if a.noun == noun)
        if named is None:
            named = self.rng.random() < 0.6
        pool = words.PET_NAMES_F if gender == "f" else words.PET_NAMES_M
        return Being(
            name=self.fresh(pool) if named else f"the {noun}",
            noun=noun,
            gender=gender,
            kind="animal",
            trait=self._trait(noun),
            story=self,
            named=named,
            moved=kind.moved,
            home=kind.home,
            hobby=self._hobby(noun),
        )

    def anyone(self, unlike: Being | None = None) -> Being:
        return self.rng.choice((self.child, self.child, self.adult, self.animal))(unlike)

    def peer(self, of: Being) -> Being:
        """A friend of the same world: animals befriend animals, children befriend both."""
        if of.kind == "animal":
            return self.animal(of)
        if of.kind == "adult":
            return self.rng.choice((self.adult, self.child))(of)
        return self.rng.choice((self.child, self.child, self.animal))(of)

    def keep(self, thing: Thing, holder: Being | Place) -> None:
        self.holder[thing] = holder

    def go(self, being: Being, place: Place) -> None:
        """Tell a journey and move the being (and what it carries)."""
        self.where[being] = place
        sight = self.sight(place)
        self.tell(
            "{who.s} {who.moved} {to.to}, where {sight}.",
            "so {who.s} {who.moved} {to.to}.",
            "soon {who.s} came {to.to}, and {sight}.",
            "{who.s} went {to.to}.|There {sight}.",
            "then {who.s} {who.moved} all the way {to.to}.",
            "a little later {who.s} was {to.at}.|{sight}.",
            who=being,
            to=place,
            sight=sight,
        )


def _number(word: str) -> int:
    """The same number for the same word, in every process."""
    return zlib.crc32(word.encode())


def _capitalised(sentence: str) -> str:
    for i, ch in enumerate(sentence):
        if ch.isalpha():
            return sentence[:i] + ch.upper() + sentence[i + 1 :]
    return sentence
