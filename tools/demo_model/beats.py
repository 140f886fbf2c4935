"""How do stories open, pass the time, bring people together and close?"""

from __future__ import annotations

from . import words
from .world import Being, Story, with_article


def opening(s: Story) -> None:
    """Introduce the hero `h`, the setting and what the hero is like."""
    rng = s.rng
    s.cast["h"] = hero = s.anyone()
    s.cast["setting"] = s.choose(words.SETTINGS, s.opening_turn(hero))
    s.cast["like"], s.cast["did"] = hero.hobby
    s.cast["sky"] = s.sky()
    s.cast["season"], s.cast["a_season"] = s.season, with_article(s.season)
    style = rng.randrange(14)
    if style < 3 or (5 <= style < 7 and not hero.named):
        s.tell(
            "once upon a time, there was {h.intro}.|{h.s} lived {setting}.",
            "once upon a time, {setting}, there lived {h.intro}.",
            "once upon a time, there was {h.intro} who lived {setting}.",
            "once there was {h.intro} who lived {setting}.",
            "long ago, {h.intro} lived {setting}.",
            "once upon a time, {h.intro} lived {setting}.",
            "a long time ago, {setting}, there was {h.intro}.",
            "there once was {h.intro} who lived {setting}.",
            "there was once {h.intro}.|{h.s} lived {setting}.",
        )
    elif style >= 10:
        _scene(s, hero)
    elif style < 5:
        s.tell(
            "{setting}, there lived {h.intro}.",
            "{setting} lived {h.intro}.",
            "far away, {setting}, lived {h.intro}.",
            "{setting}, everyone knew {h.intro}.",
        )
    elif style < 7 and hero.named:
        s.tell(
            "{h} was {h.tag} who lived {setting}.",
            "{h} was {h.tag}.|{h.s} lived {setting}.",
            "{h} lived {setting}.|{h.s} was {h.tag}.",
            "my story is about {h.intro}.|{h.s} lived {setting}.",
            "this is the story of {h.intro} who lived {setting}.",
            "have you ever heard of {h.intro}?|{h.s} lived {setting}.",
            "{h.intro} lived {setting}.",
            "everybody {setting} knew {h.intro}.",
            "there was {h.intro}.|{h.s} lived {setting}.",
        )
    elif style < 9:
        s.tell(
            "one {season} morning, {sky}.|{setting}, {h.intro} was already awake.",
            "it was {season}, and {sky}.|{h.intro} lived {setting}.",
            "it was a quiet {season} day {setting}.|There lived {h.intro}.",
            "one day in {season}, {h.intro} woke up very early.|{h.s} lived {setting}.",
            "every morning, {h.intro} looked out of the window {setting}.",
            "one morning, {h.intro} woke up and smiled.|{sky}.",
            "early in the morning, {h.intro} stood at the window.|{sky}.",
        )
    else:
        s.tell(
            '"what a day!" said {h}.|{h.s} was {h.tag} who lived {setting}.',
            '"good morning, world!" said {h}, {h.tag} who lived {setting}.',
            '"today something will happen," thought {h}.|{h.s} was {h.tag} who lived {setting}.',
        )
    if hero.kind == "adult" and rng.random() < 0.8:
        s.cast["workplace"] = hero.trade.workplace
        s.tell(
            "every day {h.s} worked {workplace}.",
            "{h.s} worked {workplace} and loved to {like}.",
            "all day long {h.s} {did} and was happy.",
            "from morning to evening {h.s} {did}.",
        )
    elif rng.random() < 0.8:
        s.tell(
            "{h.s} loved to {like}.",
            "every day {h.s} {did}.",
            "more than anything, {h.s} liked to {like}.",
            "whenever {h.s} had time, {h.he} {did}.",
            "{h.s} {did} whenever it was possible.",
            "on most days {h.s} {did} and was happy.",
        )
    _details(s, hero)
    s.flavor = words.GOOD_TRAITS.index(hero.trait)


def _details(s: Story, hero: Being) -> None:
    """What the hero looks like and how the hero's nature shows."""
    s.maybe(0.65, *words.TRAIT_SHOWN[hero.trait])
    if s.rng.random() < 0.25:
        s.cast["look"] = s.choose((words.FUR if hero.kind == "animal" else words.HAIR).split("|"))
        s.cast["worn"] = s.thing("wear")
        s.tell(
            "{h.s} had {look} and always wore {worn.a}.",
            "{h.s} had {look}.",
            "one could see {h.o} from far away, because {h.he} always wore {worn.a}.",
        )


def _scene(s: Story, hero: Being) -> None:
    """Open with the hero in the middle of something."""
    s.cast["age"] = s.rng.choice(words.AGES)
    s.cast["busy"] = s.rng.choice(words.BUSY)
    s.cast["where"] = s.place()
    name = hero.name
    if hero.kind == "animal" or hero.trade:
        hero.name = f"the {s.cast['age']} {hero.noun}"
    s.tell(
        "it was {season}, and {h} was {busy}.",
        "{h} was {busy}.",
        "one {season} morning, {h} was {busy}.",
        "{h} {h.moved} {where.to}, and {sky}.",
        "one day, {h} {h.moved} {where.to}.",
        "{sky}, and {h} was {busy}.",
        "one morning, {h} woke up early.|{sky}.",
        "early one morning, {h} went outside.|{sky}.",
        "it was a cold night, and {h} could not sleep.",
    )
    hero.name = name
    if hero.named and (hero.kind == "animal" or hero.trade):
        s.tell("{h.his} name was {h}.", "everyone called {h.him} {h}.", "{h} was {h.his} name.")
        s.tell(
            "{h.he} lived {setting}.",
            "{h.he} lived {setting} and was very {trait}.",
            trait=hero.trait,
        )
    else:
        s.tell("{h.he} was {h.tag}.", "{h.he} was {h.tag} who lived {setting}.")


def turn(s: Story) -> None:
    """Perhaps open the next paragraph with the weather of that one day."""
    if s.rng.random() < 0.65:
        s.cast["sky"] = s.sky()
        s.open_next_paragraph(
            "one day, {sky}.",
            "one {season} day, {sky}.",
            "one morning, {sky}, and {h} went outside.",
            "it was {a_season} day, and {sky}.",
            "one afternoon, {sky}.",
        )


def meet(s: Story, letter: str, being: Being) -> None:
    """The hero meets a new being, who becomes cast[letter]."""
    s.cast[letter] = being
    s.tell(
        "there {h.s} met {who.intro}.",
        "on the way {h.s} met {who.intro}.",
        "just then, {who.intro} came along.",
        "{h.s} saw {who.intro} sitting there.",
        "before long, {h.s} met {who.intro}.",
        "there stood {who.intro}.",
        who=being,
    )


def friend(s: Story, letter: str = "f") -> Being:
    """Introduce the hero's old friend as cast[letter]."""
    s.cast[letter] = being = s.peer(s.cast["h"])
    s.tell(
        "{h.p} best friend was {who.plain}.",
        "{h.s} had a good friend, {who.plain}.",
        "{h} was often together with {who.plain}.",
        "next door lived {who.intro}, and the two were good friends.",
        who=being,
    )
    return being


def relative(s: Story, letter: str = "e") -> Being:
    """Introduce an older relative (or, for animals, an old neighbour) as cast[letter]."""
    hero: Being = s.cast["h"]
    gender = s.pick_gender(hero)
    if hero.kind == "animal":
        old = s.animal(hero, named=False)
        being = Being(
            f"the old {old.noun}",
            f"old {old.noun}",
            old.gender,
            "animal",
            "wise",
            s,
            named=False,
            moved=old.moved,
            home=old.home,
        )
    else:
        noun = s.choose(words.RELATIVES_F if gender == "f" else words.RELATIVES_M)
        being = Being(f"{hero.his} {noun}", noun, gender, "adult", "wise", s, named=False)
    s.cast[letter] = being
    return being


def travel_time(s: Story) -> None:
    s.maybe(
        0.4,
        "the way was long, but {h} did not give up.",
        "after an hour {h.s} took a short rest on a stone.",
        "on the way {h.s} hummed a little song.",
        "{h.s} crossed a field and jumped over a stream.",
        "the path went up and down and around many corners.",
    )


def night(s: Story) -> None:
    """Evening comes, once per story."""
    if s.night_told:
        return
    s.night_told = True
    s.tell(
        "that night the stars came out one by one.",
        "when evening came, the sky turned red and then dark blue.",
        "the sun went down, and the first stars began to shine.",
        "at last the day was over, and the moon rose over the roofs.",
        "in the evening, everything grew quiet.",
    )


_FRIENDS_FOR_LIFE = (
    "from that day on, {h} and {f} were the best of friends.",
    "{h} and {f} talked about it for many years.",
    "after that, {h} and {f} met every day.",
    "and whenever {f} needed help, {h} was there.",
    "{h} and {f} stayed friends all their lives.",
)
_SIDE_BY_SIDE = (
    "{h} and {f} laughed and went home together.",
    "{h} and {f} sat together until the stars came out.",
    "arm in arm, {h} and {f} went home.",
)
_ALONE = (
    "{h} never forgot that day.",
    "{h} told the story to everyone.",
    "and {h} was happy for a long time.",
    "that night {h} fell asleep with a smile.",
)
_HOMEWARD = (
    "{h} went home and slept well that night.",
    "{h} smiled all the way home.",
    "{h} walked home with a light heart.",
)


def ending(s: Story) -> None:
    """Close the story around the hero and, if there is one, the friend `f`."""
    if s.rng.random() < 0.35:
        s.paragraph()
    if s.rng.random() < 0.3 and not s.at_home:
        night(s)
    if "f" in s.cast:
        together = s.together and not s.at_home and not s.night_told
        s.maybe(0.75, *_FRIENDS_FOR_LIFE, *(_SIDE_BY_SIDE if together else ()))
    else:
        s.maybe(0.75, *_ALONE, *(() if s.at_home else _HOMEWARD))
    if s.moral and s.rng.random() < 0.6:
        s.tell(
            "{h} had learned that {moral}.",
            "after that day, {h} always knew that {moral}.",
            "{moral}.",
            'and {h} often said, "{Moral}."',
            moral=s.moral,
            Moral=s.moral[0].upper() + s.moral[1:],
        )
    elif s.rng.random() < 0.3:
        s.tell(
            "and they all lived happily ever after.",
            "that was the end of a very good day.",
            "it had been the best day of the year.",
            "and that is how it happened.",
        )
