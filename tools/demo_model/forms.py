"""What kinds of text are in the corpus?  Stories, titled or asked for, with questions, and talk."""

from __future__ import annotations

import random

from . import arcs_adventure, arcs_castle, arcs_friendship, arcs_lost_and_found, arcs_work, words
from .beats import ending, opening, turn
from .world import Story, with_article

lost, friends, work, far, castle = (
    arcs_lost_and_found,
    arcs_friendship,
    arcs_work,
    arcs_adventure,
    arcs_castle,
)
ARCS = (
    lost.lost_thing,
    lost.found_thing,
    lost.broken_thing,
    lost.kept_promise,
    lost.trades,
    lost.hide_and_seek,
    friends.rescue,
    friends.quarrel,
    friends.fear,
    friends.hungry_traveler,
    friends.sick_friend,
    friends.new_neighbor,
    friends.lost_child,
    friends.nightmare,
    work.invention,
    work.garden,
    work.soup,
    work.delivery,
    work.apprentice,
    work.contest,
    work.gift,
    work.broken_bell,
    far.treasure_map,
    far.storm,
    far.mystery,
    far.wish,
    far.journey,
    far.trick,
    far.winter_store,
    far.crossing,
    far.snow_day,
    far.visit,
    castle.sad_king,
    castle.friendly_dragon,
    castle.giant_turnip,
    castle.fallen_star,
    castle.market_day,
    castle.night_ride,
)
FITTING = {  # what tends to happen to whom
    "kind": (friends.rescue, friends.hungry_traveler, friends.lost_child),
    "brave": (castle.friendly_dragon, friends.rescue, castle.night_ride),
    "clever": (far.trick, work.broken_bell, far.crossing),
    "curious": (far.treasure_map, far.mystery, far.journey),
    "gentle": (friends.rescue, far.wish, friends.lost_child),
    "patient": (work.garden, work.apprentice, work.broken_bell),
    "cheerful": (castle.sad_king, work.soup, far.snow_day),
    "honest": (lost.found_thing, lost.broken_thing, castle.market_day),
    "careful": (work.delivery, lost.kept_promise, far.winter_store),
    "quiet": (friends.nightmare, far.mystery, friends.fear),
    "lively": (work.contest, lost.hide_and_seek, lost.lost_thing),
    "friendly": (friends.new_neighbor, work.soup, far.visit),
    "thoughtful": (work.gift, far.visit, friends.sick_friend),
    "helpful": (work.delivery, friends.sick_friend, castle.giant_turnip),
    "generous": (friends.hungry_traveler, lost.trades, far.wish),
    "bold": (far.journey, work.contest, castle.friendly_dragon),
    "calm": (far.storm, far.crossing, castle.night_ride),
    "hopeful": (work.invention, castle.fallen_star, work.garden),
    "playful": (lost.hide_and_seek, far.snow_day, friends.quarrel),
    "polite": (castle.market_day, friends.new_neighbor, lost.kept_promise),
}


def story(rng: random.Random) -> Story:
    """Opening, one arc, ending."""
    s = Story(rng)
    opening(s)
    fits = FITTING[s.cast["h"].trait]
    arc = rng.choices(fits, (5, 3, 2))[0] if rng.random() < 0.7 else rng.choice(ARCS)
    if s.cast["h"].kind == "adult" and rng.random() < 0.15:
        arc = arcs_work.shop_day
    turn(s)
    arc(s)
    ending(s)
    return s


def _title(s: Story) -> str:
    hero = s.cast["h"]
    thing, place = s.cast.get("o"), s.cast.get("p")
    name = hero.name.removeprefix("the ").capitalize()
    if not hero.named:
        name = "The " + name
    if thing is not None and s.rng.random() < 0.7:
        return f"{name} and the {thing.full.title()}"
    if place is not None and s.rng.random() < 0.7:
        return f"{name} {place.at.split()[0]} the {place.noun.title()}"
    return s.rng.choice(
        (
            f"The Story of {name[0].lower() + name[1:] if name[:4] == 'The ' else name}",
            f"{name} and the Long Day",
            f"{name} Finds a Way",
        )
    )


def plain_story(rng: random.Random) -> str:
    text = story(rng).text()
    return text[0].lower() + text[1:] if rng.random() < 0.04 else text


def titled_story(rng: random.Random) -> str:
    s = story(rng)
    return f"{_title(s)}\n\n{s.text()}"


def requested_story(rng: random.Random) -> str:
    """A request for a story, then the story."""
    s = story(rng)
    hero, other = s.cast["h"], s.cast.get("f", s.cast.get("e"))
    bare = rng.random() < 0.3  # without names
    about = [with_article(hero.noun) if bare else hero.plain]
    if "o" in s.cast and rng.random() < 0.6:
        about.append(s.cast["o"].a)
    elif other is not None and other.named and rng.random() < 0.5:
        about.append(with_article(other.noun) if bare else other.plain)
    request = rng.choice(
        (
            "Tell me a story about {}.",
            "Write a short story about {}.",
            "Write a story about {}.",
            "Please tell a story about {}.",
            "I want to hear a story about {}.",
            "Can you tell me a story about {}?",
            "A story about {}.",
        )
    ).format(" and ".join(about))
    if rng.random() < 0.25:
        request = request.rstrip(".")
    if rng.random() < 0.15:
        request = request[0].lower() + request[1:]
    return f"{request}\n\n{s.text()}"


def questioned_story(rng: random.Random) -> str:
    """A story, then questions about it with their answers."""
    s = story(rng)
    facts = list(dict.fromkeys(s.facts))
    rng.shuffle(facts)
    lines = [f"Question: {ask}\nAnswer: {reply}" for ask, reply in facts[: rng.choice((1, 2, 3))]]
    return "\n\n".join([s.text(), *lines])


def dialogue(rng: random.Random) -> str:
    """Two neighbours talk about the weather, the day and a plan."""
    s = Story(rng)
    s.cast["h"] = a = s.anyone()
    s.cast["f"] = s.peer(a)
    s.cast["p"], s.cast["o"], s.cast["sky"] = s.place(), s.thing(), s.sky()
    s.cast["like"] = rng.choice(words.HOBBIES)[0]
    s.cast["A"] = a.name[0].upper() + a.name[1:]
    s.tell(
        "{h} met {f} {p.at}.",
        "one {season} day, {h} and {f} met {p.at}.",
        "{h} and {f} were sitting {p.at}, and {sky}.",
        season=s.season,
    )
    s.paragraph()
    s.tell(
        '"good morning," said {h}.|"Good morning," said {f}.',
        '"hello!" said {h}.|"Hello!" said {f}.',
        '"how are you?" asked {h}.|"I am well, thank you," said {f}.',
    )
    s.paragraph()
    s.tell(
        '"what do you have there?" asked {h}.|"It is {o.a}," said {f}. "I got it from my aunt."',
        '"what are you looking for?" asked {h}.|"I am looking for {o.a}," said {f}.',
        '"do you know what I found?" asked {h}.|"No, what?" asked {f}.|"{O}!" said {h}.',
        O=s.cast["o"].a.capitalize(),
    )
    s.paragraph()
    s.tell(
        '"and what will you do today?" asked {h}.|'
        '"I want to {like}," said {f}. "Will you come along?"',
        '"today I want to {like}," said {f}. "Do you want to come?"',
    )
    s.tell(
        '"yes, I would love to," said {h}.',
        '"not today," said {h}, "but tomorrow I will."',
        '"of course," said {h}.',
    )
    s.tell(
        "so they went off together.",
        "they laughed and walked down the road.",
        "and they talked until the sun went down.",
    )
    return s.text()


def description(rng: random.Random) -> str:
    """A place at a certain hour, with those who are there."""
    s = Story(rng)
    s.cast["p"] = p = s.place()
    s.cast["h"] = s.anyone()
    s.cast["f"] = s.anyone(s.cast["h"])
    s.cast["season"], s.cast["sky"] = s.season, s.sky()
    s.cast["one"], s.cast["two"] = s.sight(p), s.sight(p)
    s.cast["like"], s.cast["did"] = s.cast["h"].hobby
    s.cast["o"] = s.thing()
    s.tell(
        "it was {season}, and {sky}.",
        "one {season} morning, {sky}.",
        "{sky}, as often in {season}.",
    )
    s.tell("{p.at}, {one}.|{two}.", "it was quiet {p.at}.|{one}, and {two}.")
    s.tell(
        "{h.intro} sat there with {o.a}.",
        "{h.intro} came by with {o.a}.",
        "in the middle of it all stood {h.intro} with {o.a}.",
    )
    s.tell(
        "{h} {did} almost every day, but today {h.he} only looked around.",
        "{h} looked around and smiled.",
        '"I could stay here forever," said {h}.',
    )
    s.tell("a little later, {f.intro} came along, too.", "from far away, {f.intro} waved.")
    s.tell(
        "they did not talk much.|It was enough to be there.",
        "together they waited for the evening.",
        '"is it not beautiful?" asked {f}.',
    )
    return s.text()


def self_introduction(rng: random.Random) -> str:
    """Somebody tells about the own life in the first person."""
    s = Story(rng)
    s.cast["h"] = h = s.rng.choice((s.child, s.adult))()
    s.cast["f"] = s.peer(h)
    s.cast["p"], s.cast["o"] = s.place(), s.thing()
    s.cast["setting"] = s.choose(words.SETTINGS)
    s.cast["like"], s.cast["did"] = h.hobby
    s.cast["b"] = s.food()
    s.tell(
        "hello, my name is {h}.",
        "my name is {h}.",
        "hello! I am {h}.",
        "I am {h}.",
        "hi, my name is {h}.",
    )
    s.tell(
        "I am {h.tag}, and I live {setting}.",
        "I live {setting}.|People say that I am very {trait}.",
        trait=h.trait,
    )
    if h.trade:
        s.cast["workplace"] = h.trade.workplace
        s.tell(
            "I work {workplace}.",
            "every day I work {workplace}.",
            "I work {workplace}, and I like it.",
        )
    s.tell(
        "I love to {like}.", "in my free time I like to {like}.", "what I like most is to {like}."
    )
    s.tell(
        "my best friend is {f.plain}.",
        "I often meet my friend {f.name}." if s.cast["f"].named else "my best friend is {f.plain}.",
    )
    s.tell(
        "yesterday I went {p.to} and found {o.a}.",
        "yesterday we were {p.at} and ate {b} together.",
        "today I found {o.a} {p.at}.",
    )
    s.tell("it was a wonderful day.", "I was very happy.", "I will never forget it.")
    s.tell("come and visit me one day!", "and who are you?", "I hope that we will meet one day.")
    return s.text()


FORMS = (
    (plain_story, 0.54),
    (titled_story, 0.10),
    (requested_story, 0.15),
    (questioned_story, 0.12),
    (dialogue, 0.03),
    (description, 0.03),
    (self_introduction, 0.03),
)


def document(seed: int) -> str:
    """The document of a seed; the same on every machine."""
    rng = random.Random(seed)
    makers, weights = zip(*FORMS, strict=True)
    return rng.choices(makers, weights)[0](rng)
