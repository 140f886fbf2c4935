"""Stories of kings, dragons, giant turnips, fallen stars, markets and races through the night."""

from __future__ import annotations

from .beats import friend, night, travel_time
from .world import Being, Story


def sad_king(s: Story) -> None:
    """A ruler cannot laugh; grand attempts fail and a simple one works."""
    hero: Being = s.cast["h"]
    gender = s.rng.choice("fm")
    noun = "queen" if gender == "f" else "king"
    if hero.noun == noun:
        noun = "duchess" if gender == "f" else "duke"
    s.cast["e"] = Being(f"the {noun}", noun, gender, "adult", "sad", s, named=False)
    s.paragraph()
    s.tell(
        "far away in a castle lived {e.intro} who had not laughed for a year.",
        "at that time, the land was ruled by {e.intro}.|Nobody had heard {e.o} laugh for a year.",
    )
    s.tell(
        '"whoever makes me laugh shall have a wish," said {e}.',
        "{e} promised a bag of gold to anyone who could make {e.o} laugh.",
    )
    grand = [
        ("a juggler came with twelve golden balls", "{e} only yawned"),
        ("a clown fell over his own feet", "{e} looked out of the window"),
        ("a singer sang a hundred funny songs", "{e} covered {e.his} ears"),
        ("a man brought a dancing bear", "{e} felt sorry for the bear"),
        ("a wizard pulled a goat out of a hat", "{e} sighed"),
    ]
    s.rng.shuffle(grand)
    (one, no_one), (two, no_two) = grand[:2]
    s.tell("first " + one + ", but " + no_one + ".", one + ", but " + no_one + ".")
    s.tell("then " + two + ", but " + no_two + ".", "the next day " + two + ", but " + no_two + ".")
    s.tell(
        "when {h} heard of it, {h.he} went to the castle.",
        "then {h} stood before the throne.",
        "at last it was {h.p} turn.",
    )
    s.cast["trick"] = s.choose(
        (
            "told the story of a hen who wanted to learn to read",
            "asked how the day had been and listened until evening",
            "fell into the royal fountain by mistake",
            "made a face that looked just like the royal cook",
            "let a small frog sit on the golden crown",
            "sang a song with all the wrong words",
        )
    )
    s.tell("{h.s} {trick}.", "{h} did not have any gold, but {h.he} {trick}.")
    s.tell(
        "for a moment it was silent.|Then {e} began to laugh, louder and louder.",
        "{e} smiled, and then {e.he} laughed until the windows shook.",
    )
    s.tell('"what do you wish for?" asked {e}.', '"you shall have your reward," said {e}.')
    s.cast["reward"] = s.choose(
        (
            "a feast for everyone in the land",
            "a new school for the village",
            "bread for all the poor",
            "a garden that is open to everyone",
            "a day without work for everybody",
        )
    )
    s.tell('"I wish for {reward}," said {h}.')
    s.tell("so it was done, and {e} danced with the people.", "{e} was glad to grant it.")
    s.fact("who could not laugh?", "{e} could not laugh.")
    s.fact("what did {h} wish for?", "{h} wished for {reward}.")
    s.moral = s.choose(("a simple joke is worth more than gold", "laughter is the best medicine"))


def friendly_dragon(s: Story) -> None:
    """A feared dragon turns out to need help."""
    hero: Being = s.cast["h"]
    gender = s.pick_gender(hero)
    kind = s.choose(("dragon", "giant", "troll"))
    s.cast["f"] = Being(f"the {kind}", kind, gender, "animal", "huge", s, named=False)
    s.cast["p"] = s.place("wild")
    if hero.noun == kind:
        hero.trait = "small"
    s.paragraph()
    s.tell(
        "people said that {f.intro} lived {p.at}.",
        "for weeks, {f.intro} had frightened the people.",
        "every night, one could hear {f.intro} roaring {p.at}.",
    )
    s.tell(
        "nobody dared to go near.",
        "the bravest knights ran away.",
        "all the doors were locked at sunset.",
    )
    s.tell(
        '"has anyone ever asked why?" said {h}.',
        '"I will talk to {f}," said {h}.',
        "{h} packed some bread and set out.",
    )
    travel_time(s)
    s.go(hero, s.cast["p"])
    s.tell("there sat {f}, as big as a house.", "the ground shook, and there was {f}.")
    s.tell(
        '"are you not afraid of me?" roared {f}.|"A little," said {h}.',
        '"go away!" roared {f}, but {h} stayed.',
    )
    s.cast["pain"], s.cast["help"] = s.choose(
        (
            ("I have a thorn in my foot", "pulled out the thorn"),
            ("I have such a bad toothache", "tied a string to the tooth and pulled"),
            ("I have lost my only teddy bear", "found the teddy bear behind a rock"),
            ("I cannot sleep without a story", "told a long and quiet story"),
            ("nobody ever comes to my birthday", "sang a birthday song and shared the bread"),
            ("my fire has gone out, and I am cold", "made a fire with dry wood"),
        )
    )
    s.tell(
        '"why do you roar every night?" asked {h}.|"Because {pain}," said {f}.',
        'big tears rolled down. "It is because {pain}," said {f}.',
    )
    s.tell(
        "{h} came closer and {help}.", "{h} thought for a moment and then {help}.", "so {h} {help}."
    )
    s.tell(
        '"oh," said {f}. "That feels much better."',
        "{f} smiled with all {f.his} teeth.",
        '"nobody has ever been so kind to me," said {f}.',
    )
    s.tell(
        "from then on, {f} helped the people and carried heavy stones for them.",
        "after that, {f} lit the lamps of the village every evening."
        if kind == "dragon"
        else "after that, {f} built a bridge for the village.",
        "the next day, {f} came to the village and said sorry.",
    )
    s.fact("who roared every night?", "{f} roared every night.")
    s.fact("where did {f} live?", "{f} lived {p.at}.")
    s.moral = s.choose(("one should ask before one fears", "even the strong need help sometimes"))


def giant_turnip(s: Story) -> None:
    """Something is too heavy for one; helpers line up, the smallest makes the difference."""
    hero: Being = s.cast["h"]
    s.cast["plant"] = plant = s.choose(("turnip", "carrot", "beet", "radish", "pumpkin"))
    s.paragraph()
    s.tell(
        "in the garden grew a giant {plant}.",
        "one day, {h} found a giant {plant} in the garden.",
        "that year, the biggest {plant} of all grew in {h.p} garden.",
    )
    s.tell(
        "{h} pulled and pulled, but the {plant} did not move.",
        "{h} took hold of the {plant} and pulled, but nothing happened.",
    )
    count = s.rng.choice((2, 3, 3))
    for number in range(count):
        helper = s.animal(hero, named=False, small=True if number == count - 1 else None)
        s.cast["f" if number == count - 1 else "x"] = helper
        s.cast["x"] = helper
        if number < count - 1:
            s.tell(
                "{h} called {x.plain}, and they pulled together, but it was not enough.",
                "then {x.plain} came to help.|They pulled and pulled, but the {plant} stayed.",
                "{x.plain} came along and pulled, too, but it did not help.",
            )
        else:
            s.tell(
                'at last a little {f.noun} came. "May I help?" {f.he} asked.',
                'then a little {f.noun} said, "Let me try, too."',
            )
    s.tell(
        '"you are too small," said the others, but {h} said, "Come!"',
        "the others laughed, but {h} nodded.",
    )
    s.tell(
        "they all pulled at once, and out came the {plant}!",
        "one, two, three!|With a loud pop the {plant} came out.",
    )
    s.tell(
        "everybody fell on top of each other and laughed.",
        "the {plant} rolled all the way to the gate.",
    )
    s.tell(
        "that evening, there was {plant} soup for everyone.",
        "they cooked it, and {f} got the biggest bowl.",
    )
    s.fact("what grew in the garden?", f"a giant {plant} grew in the garden.")
    s.fact("who came last?", "{f} came last.")
    s.moral = s.choose(("every helper counts", "even the smallest can make the difference"))


def fallen_star(s: Story) -> None:
    """A star falls from the sky and wants to go home."""
    hero: Being = s.cast["h"]
    friend(s)
    s.cast["p"], s.cast["q"] = s.place(), s.place("wild")
    s.paragraph()
    night(s)
    s.tell(
        "suddenly something bright fell down {p.at}.",
        "then a light fell from the sky and landed {p.at}.",
    )
    s.tell(
        "{h} and {f} ran {p.to} and found a tiny star.",
        "{h} woke {f}, and together they found a little star.",
    )
    s.tell(
        '"I have lost my place," said the star. "Can you help me?"',
        "the star was crying.|It wanted to go home.",
    )
    tries = [
        ("they threw it as high as they could", "it fell down again"),
        ("they climbed the tallest tree", "the sky was still too far away"),
        ("they tied it to a kite", "the string was too short"),
        ("they asked an eagle", "the star was too hot to carry"),
        ("they built a tower of boxes", "it fell over"),
    ]
    s.rng.shuffle(tries)
    (one, no_one), (two, no_two) = tries[:2]
    s.tell("first " + one + ", but " + no_one + ".")
    s.tell("then " + two + ", but " + no_two + ".")
    s.cast["way"] = s.choose(
        (
            "waited for the moon to come down to the lake",
            "sang until the other stars let down a ladder of light",
            "rode to the place where the sky touches the hills",
            "asked the north wind to blow with all its might",
            "lit a fire, and the star rose with the sparks",
        )
    )
    s.tell('"I have an idea," said {f}.|So they {way}.', "at last {h} had an idea.|They {way}.")
    s.tell(
        "slowly the star floated up, higher and higher.",
        "in a flash the star was back in its place.",
    )
    s.tell(
        '"thank you!" it called. "I will shine for you every night."',
        "it twinkled three times to say thank you.",
    )
    s.tell("after that, {h} and {f} looked for it every evening.")
    s.fact("what fell from the sky?", "a star fell from the sky.")
    s.fact("where did it land?", "it landed {p.at}.")
    s.moral = s.choose(("everyone has a place in the world", "a small light can shine far"))
    s.where[hero] = s.cast["p"]


def market_day(s: Story) -> None:
    """The hero sells something at the market, is offered a bad bargain and stays fair."""
    hero: Being = s.cast["h"]
    goods, one = s.choose(
        (
            ("eggs", "egg"),
            ("apples", "apple"),
            ("honey cakes", "honey cake"),
            ("clay cups", "clay cup"),
            ("baskets", "basket"),
            ("flowers", "flower"),
            ("wooden spoons", "wooden spoon"),
            ("candles", "candle"),
        )
    )
    s.cast.update(goods=goods, single=one)
    s.cast["e"] = s.adult(hero) if hero.kind != "animal" else s.animal(hero)
    s.cast["f"] = s.peer(hero)
    s.paragraph()
    s.tell(
        "one day, {h} went to the market with a cart full of {goods}.",
        "one morning, {h} wanted to sell {goods} at the market.",
    )
    s.tell(
        "all morning nobody bought anything.",
        "many people looked at the {goods}, but nobody bought any.",
    )
    s.tell(
        'then {e.intro} said, "I will buy them all if you tell everyone that they are magic."',
        '"say that your {goods} are magic," whispered {e.intro}, "and you will be rich."',
    )
    s.tell(
        '"that would be a lie," said {h}.',
        '{h} shook {h.his} head. "They are only {goods}," {h.he} said.',
    )
    s.tell("{e} laughed and went away.", '"then you will stay poor," said {e}.')
    s.tell(
        "a little later, {f.plain} stopped at the cart.|{f.s} had only one small coin.",
        "in the afternoon, {f.plain} came by with a single coin.",
    )
    s.tell("{h} gave {f.o} the best of the {goods}.", '"one coin is enough," said {h}.')
    s.tell(
        "{f} was so happy that {f.he} told the whole street.",
        '"these are the best {goods} in the land!" cried {f}.',
    )
    s.tell(
        "soon there was a long line, and before evening the cart was empty.",
        "people came from all sides, and by sunset everything was sold.",
    )
    s.fact("what did {h} sell?", "{h} sold {goods}.")
    s.fact("who had only one coin?", "{f} had only one coin.")
    s.moral = s.choose(("honest work finds its friends", "a true word is the best advertisement"))


def night_ride(s: Story) -> None:
    """Help has to be fetched in the middle of the night."""
    s.cast["h"]
    friend(s)
    s.cast["need"], s.cast["helper"] = s.choose(
        (
            ("the barn next door was on fire", "the neighbors with their buckets"),
            ("the river was rising over its banks", "the people of the upper village"),
            ("a calf had fallen into the old well", "the farmer with the long rope"),
            ("a ship was in danger on the rocks", "the sailors in the harbor"),
            ("a baby was about to be born", "the doctor"),
        )
    )
    s.paragraph()
    night(s)
    s.tell(
        "in the middle of the night, {f} knocked on the window. "
        '"Wake up!" {f.he} cried. "Come quickly!"',
        "{h} was asleep when {f} ran in, out of breath.",
    )
    s.tell("{need}.", "something terrible had happened.|{need}.")
    s.tell('"we must fetch {helper}," said {h}.', '"stay here," said {h}. "I will get {helper}."')
    s.tell(
        "{h} ran through the dark without a lamp.",
        "{h} hurried over the hills by the light of the moon.",
    )
    s.tell(
        "once {h.he} fell, but {h.he} got up again.",
        "the wind blew hard, but {h} did not stop.",
        "an owl called, and the branches looked like arms.",
    )
    s.tell("at last {h} came back with {helper}.", "an hour later, {h} returned with {helper}.")
    s.tell(
        "everybody worked until the morning, and all went well.",
        "they had come just in time.",
        "when the sun rose, the danger was over.",
    )
    s.tell(
        '"without you it would have been too late," said {f}.', "{f} hugged {h} and did not let go."
    )
    s.fact("who woke {h}?", "{f} woke {h}.")
    s.fact("what had happened?", "{need}.")
    s.moral = s.choose(("real friends come at any hour", "courage shows itself at night"))
