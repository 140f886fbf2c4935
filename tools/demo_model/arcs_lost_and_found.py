"""Stories of things lost, found, broken, hidden and given back."""

from __future__ import annotations

from .beats import friend, meet, relative, travel_time
from .world import Story


def lost_thing(s: Story) -> None:
    """The hero loses something, asks around and finds it where a helper saw it."""
    s.cast["o"] = o = s.thing()
    s.cast["p"], s.cast["q"] = p, q = s.place(), s.place()
    s.tell(
        "{h} had {o.a}, and {h.he} took it everywhere.",
        "{h} owned {o.a} that had come from far away.",
        "of all the things {h} had, {h.he} loved {o} the most.",
        "last year, {h} had been given {o.a}.|It was very dear to {h.him}.",
    )
    s.paragraph()
    s.tell(
        "one day, {o.the} was gone.",
        "suddenly {o.the} was gone.",
        "one morning, {h} could not find {o.the}.",
        "but one evening, {h} came home without {o.the}.",
        "then one day, {h} reached for {o.the}, and it was not there.",
    )
    s.tell(
        "{h.s} looked under the bed, behind the door and in every corner.|It was nowhere.",
        "{h.s} searched the whole house, but {h.he} did not find it.",
        '"where can it be?" cried {h}.',
        "{h.s} was so sad that {h.he} could not eat.",
        "{h.s} emptied every box and every pocket, but found only dust.",
    )
    s.go(s.cast["h"], p)
    meet(s, "f", s.anyone(s.cast["h"]))
    s.tell(
        '"have you seen {o.a}?" asked {h}.',
        '"excuse me, I am looking for {o.a}," said {h}.',
        '"I have lost {o}," said {h}. "Can you help me?"',
        "{h} asked about {o}.",
    )
    s.tell(
        '"yes," said {f}. "I saw {o.a} {q.at} this morning."',
        '"I think so," said {f}. "A crow carried something like that {q.to}."',
        '"not here," said {f}, "but you should look {q.at}."',
        '"let me think," said {f}. "You were {q.at} yesterday. Did you look there?"',
    )
    s.together = together = s.rng.random() < 0.5
    s.tell(
        '"come, we will look together," said {f}.',
        "{f.s} wanted to come along, and so the two set out.",
    ) if together else s.tell(
        "{h} thanked {f} and hurried on.", '"thank you!" called {h} and ran off.'
    )
    s.go(s.cast["h"], q)
    s.tell(
        "and there, {hid}, lay {o.the}.",
        "{h.s} looked carefully, and there it was, {hid}.",
        "at first {h.s} saw nothing, but then something caught {h.his} eye {hid}.|It was {o.the}!",
        "{hid}, {h} found {o.the} at last.",
        hid=s.choose(
            (
                "under a bench",
                "behind a big stone",
                "between two roots",
                "in the tall grass",
                "next to an old barrel",
                "under some leaves",
                "beside the wall",
                "in an empty nest",
            )
        ),
    )
    s.tell(
        "{h.s} held it tight and danced for joy.",
        '"I have found it!" cried {h}.',
        "{h.s} was so glad that {h.he} laughed out loud.",
        "{h.s} picked it up and wiped off the dust.",
    )
    s.keep(o, s.cast["h"])
    s.fact("what did {h} lose?", "{h} lost {o}.")
    s.fact("where was {o.the}?", "{o.the} was {q.at}.")
    s.fact("who helped {h}?", "{f} helped {h}.")
    s.moral = s.choose(
        (
            "it is good to ask for help",
            "a friend can see what you miss",
            "one should never give up too soon",
        )
    )


def found_thing(s: Story) -> None:
    """The hero finds a stranger's belonging and looks for the owner."""
    s.cast["o"] = o = s.thing()
    s.cast["p"], s.cast["q"] = p, q = s.place(), s.place()
    s.paragraph()
    s.go(s.cast["h"], p)
    s.tell(
        "there, on the ground, lay {o.a}.",
        "{h.s} stepped on something hard.|It was {o.a}.",
        "something was shining in the dust.|{h.s} bent down and picked up {o.a}.",
        "{h.s} found {o.a} that nobody seemed to miss.",
    )
    s.tell(
        '"whose {o.noun} is this?" wondered {h}.',
        '"someone must be looking for it," thought {h}.',
        "it was beautiful, and for a moment {h} wanted to keep it.",
        '"I could keep it," thought {h}, "but it is not mine."',
    )
    meet(s, "e", s.anyone(s.cast["h"]))
    s.tell(
        '"is this yours?" asked {h}.|"no," said {e}. "Ask {q.at}."',
        '{h} showed {e.o} {o.the}.|"It is not mine," said {e}. "Try your luck {q.at}."',
        '"I have never seen it before," said {e}. "But someone was crying {q.at}."',
        '"keep it," said {e}. "Nobody will know."|But {h} shook {h.his} head.',
    )
    travel_time(s)
    s.go(s.cast["h"], q)
    owner = s.anyone(s.cast["h"])
    s.cast["f"] = owner
    s.tell(
        "{f.intro} sat there and wept.",
        "there {h.s} saw {f.intro} who was looking for something.",
        "{f.intro} was walking up and down and looking at the ground.",
    )
    s.tell(
        '"are you looking for this?" asked {h} and held out {o}.',
        '"I found {o.a} {p.at}," said {h}. "Is it yours?"',
        "{h} held out {o.the}, and {f} jumped up.",
    )
    s.tell(
        '"my {o.noun}!" cried {f}. "I thought it was gone forever."',
        '"yes! My {o.noun}! How can I thank you?" said {f}.',
        '{f} hugged {h}. "You are so honest," {f.he} said.',
    )
    s.cast["b"] = s.food()
    s.tell(
        "to say thank you, {f} gave {h.o} {b}.",
        "{f} shared {b} with {h}, and they sat in the sun.",
        "{f} had no gold, but {f.he} gave {h.o} {b} and a big smile.",
    )
    s.keep(o, owner)
    s.fact("what did {h} find?", "{h} found {o.a}.")
    s.fact("where did {h} find it?", "{h} found it {p.at}.")
    s.fact("whose {o.noun} was it?", "it was {f.own} {o.noun}.")
    s.moral = s.choose(
        (
            "honesty is worth more than gold",
            "what is lost should go home",
            "a good deed brings a new friend",
        )
    )


def broken_thing(s: Story) -> None:
    """The hero breaks something of an elder, hides it, and tells the truth in the end."""
    e = relative(s)
    s.at_home = True
    s.cast["o"] = o = s.thing("fragile")
    s.tell(
        "in the corner stood {o}.|It belonged to {e}.",
        "{e} had {o.a} and loved it very much.",
        '"never play with {o}," {e} always said.',
    )
    s.paragraph()
    s.tell(
        "one day, when {h} was alone, {h.he} picked up {o.the}.|It slipped and broke in two.",
        "one rainy day, {h} ran through the room and bumped into {o.the}.|Crash! It fell down.",
        "one day, {h} wanted to look at {o.the}.|But it fell, and a big piece broke off.",
    )
    s.cast["hid"] = s.choose(
        (
            "under the bed",
            "behind the wood pile",
            "in an old chest",
            "under a heap of straw",
            "in the garden shed",
        )
    )
    s.tell(
        "{h.s} was so afraid that {h.he} hid it {hid}.",
        '"oh no," whispered {h} and put the pieces {hid}.',
        "quickly {h.s} pushed the pieces {hid}.",
    )
    s.tell(
        'in the evening, {e} asked, "Where is my {o.noun}?"|{h} said nothing.',
        '"have you seen {o.the}?" asked {e}.|"No," said {h}, but {h.his} voice shook.',
        "{e} looked for {o.the} everywhere.|{h} looked at the floor.",
    )
    s.tell(
        "that night, {h} could not sleep.|{h.s} felt as if a stone lay on {h.his} heart.",
        "{h} lay awake and listened to the wind.|The lie felt heavy.",
        "at dinner {h} could not eat a bite.",
    )
    s.tell(
        'at last {h.s} went to {e} and said, "I broke it. I am sorry."',
        '"I have to tell you something," said {h}. "I broke {o.the}, and I hid it."',
        "in the morning, {h} brought the pieces and told the truth.",
    )
    s.tell(
        '{e} was silent for a moment.|Then {e.he} said, "Thank you for telling me the truth."',
        '"{o.one} can be mended," said {e}. "I am glad that you told me."',
        "{e} was sad about {o.the}, but {e.he} was proud of {h}.",
    )
    s.tell(
        "together they glued the pieces, and {o.the} was almost as good as new.",
        "they mended it together with string and glue.",
        "they sat down at the table and mended {o.the} piece by piece.",
    )
    s.keep(o, e)
    s.fact("what did {h} break?", "{h} broke {o}.")
    s.fact("where did {h} hide the pieces?", "{h} hid the pieces {hid}.")
    s.fact("who forgave {h}?", "{e} forgave {h}.")
    s.moral = s.choose(
        (
            "the truth makes the heart light",
            "a lie is heavier than a stone",
            "it is brave to say sorry",
        )
    )


def kept_promise(s: Story) -> None:
    """The hero guards something, is tempted, and keeps the promise."""
    hero = s.cast["h"]
    s.cast["o"] = o = s.thing("treasure", "home", "music")
    s.cast["p"] = p = s.place()
    e = s.adult(hero)
    s.paragraph()
    s.go(hero, p)
    meet(s, "e", e)
    s.tell(
        '"I must go away until tonight," said {e}. "Will you watch over my {o.full}?"',
        '"please guard {o.the} for me," said {e}. "I will be back before dark."',
        '{e} gave {h.o} {o.a} and said, "Do not let it out of your sight."',
    )
    s.tell(
        '"I promise," said {h}.',
        '"you can count on me," said {h}.',
        "{h} nodded and sat down beside {o.the}.",
    )
    s.cast["x"] = s.peer(hero)
    s.tell(
        'after a while, {x.plain} came by.|"Come and play with us {q.at}!" {x.he} called.',
        '{x.plain} ran past.|"There is music {q.at}! Come along!" {x.he} cried.',
        q=s.place(),
    )
    s.tell(
        "{h} wanted to go very much, but {h.he} had made a promise.",
        '"I cannot," said {h}. "I have promised to stay here."',
        "{h} looked down the road and sighed, but {h.he} did not move.",
    )
    s.tell(
        "the hours went by slowly.|{h.s} counted clouds, then birds, then ants.",
        "it grew cold, and {h} wrapped {h.self} in {h.his} coat.",
        "the sun sank lower and lower, and still nobody came.",
    )
    s.tell(
        "at last {e} came back, and {o.the} was safe.",
        "when the first star came out, {e} returned.|{h} gave {e.o} {o.the}.",
        "just before dark, {e} came running.|{o.the} was still there.",
    )
    s.tell(
        '"you kept your word," said {e}. "That is rare."',
        '"I knew that I could trust you," said {e}.',
        "{e} thanked {h} and gave {h.o} {b}.",
        b=s.food(),
    )
    s.keep(o, e)
    s.fact("what did {h} guard?", "{h} guarded {o}.")
    s.fact("who owned {o.the}?", "{e} owned {o.the}.")
    s.moral = s.choose(
        ("a promise is a promise", "trust grows from small things", "one should keep one's word")
    )


def trades(s: Story) -> None:
    """A chain of swaps: each thing is exchanged for the next, and the last one helps somebody."""
    hero = s.cast["h"]
    first = s.thing()
    s.cast["o"] = first
    s.paragraph()
    s.tell(
        "{h} had nothing but {o.a}.",
        "one day, {h} went out with {o.a}.",
        "{h} wanted to see what {o.a} was worth.",
    )
    s.keep(first, hero)
    held = first
    for _ in range(s.choose((2, 2, 3))):
        p, new, other = s.place(), s.thing(), s.anyone(hero)
        s.cast["o"], s.cast["n"] = held, new
        s.go(hero, p)
        meet(s, "x", other)
        s.tell(
            '"I need {o.a}," said {x}. "I will give you {n.a} for it."',
            '"what a nice {o.noun}!" said {x}. "Would you take {n.a} for it?"',
            "{x} had {n.a} but wished for {o.a}.",
            '"my {n.noun} is of no use to me," said {x}, "but I could use {o.a}."',
        )
        s.tell(
            "so {h} gave {x.o} {o.the} and took {n.the}.",
            "{h} agreed, and they traded.|Now {h} had {n.a}.",
            '"fine," said {h}, and {h.he} left with {n}.',
        )
        s.keep(held, other)
        s.fact("who got {o}?", "{x} got {o}.")
        held = new
    s.cast["o"] = held
    s.cast["f"] = f = s.peer(hero)
    s.paragraph()
    s.tell(
        "on the way home, {h} met {f.plain}, who was crying.|{f.s} had lost {o.a} just like it.",
        "near the gate sat {f.plain}.|{f.s} had always dreamed of {o.a}.",
        "in the evening, {h} saw {f.plain}, who needed {o.a} very badly.",
    )
    s.tell(
        '{h} did not think twice. "It is yours," {h.he} said.',
        "{h} gave {f.o} {o.the} and asked for nothing.",
        '"take mine," said {h} and smiled.',
    )
    s.tell(
        "{h} came home with empty hands, but {h.he} had never felt so rich.",
        '"you have made my day," said {f}.',
        "{f} was so happy that {f.he} sang.",
    )
    s.keep(held, f)
    s.fact("who had {o} in the end?", "in the end, {f} had {o}.")
    s.moral = s.choose(
        (
            "giving is better than trading",
            "a friend is the best bargain",
            "the best things have no price",
        )
    )


def hide_and_seek(s: Story) -> None:
    """A game whose best hider is missed, looked for and found asleep."""
    friend(s)
    s.cast["p"] = p = s.place()
    s.paragraph()
    s.tell(
        "one afternoon, the two played hide and seek {p.at}.",
        '"let us play hide and seek {p.at}," said {f}.',
        "it was the perfect day for hide and seek {p.at}.",
        p=p,
    )
    spots = [
        "behind a barrel",
        "under an old boat",
        "in a hollow tree",
        "between two bushes",
        "under a wooden bench",
        "behind a stone wall",
        "in an empty basket",
        "behind a heap of hay",
    ]
    s.rng.shuffle(spots)
    s.cast["a"], s.cast["b"], s.cast["c"] = spots[:3]
    s.tell(
        "{h} closed {h.his} eyes and counted to twenty, and {f} hid {a}.",
        '"one, two, three," counted {h}, while {f} crept away and hid {a}.',
        "{f} hid {a} and did not make a sound, while {h} counted.",
    )
    s.tell(
        "{h} looked {b}.|Nobody was there.|{h.s} looked {c}.|Nobody was there either.",
        "first {h} looked {b}, then {c}, but {f} was not there.",
        "{h} searched {b} and {c}, but found only a sleepy beetle.",
    )
    s.tell(
        '"you have won! Come out!" called {h}.|But nobody answered.',
        "it grew late, and {h} began to worry.",
        "the sun went down, and still {f} was hidden.",
    )
    s.tell(
        "then {h} heard a soft snore.|{f} lay {a} and was fast asleep.",
        "at last {h.s} heard someone breathe {a}.|There was {f}, fast asleep.",
        "finally {h.s} looked {a}, and there lay {f}, sleeping like a stone.",
    )
    s.tell(
        '"wake up," laughed {h}. "You are the best hider in the world."',
        "{h} tickled {f.p} nose until {f.he} woke up.",
        '{f} opened {f.his} eyes and yawned. "Did I win?" {f.he} asked.',
    )
    s.fact("where did {f} hide?", "{f} hid {a}.")
    s.fact("where did they play?", "they played {p.at}.")
