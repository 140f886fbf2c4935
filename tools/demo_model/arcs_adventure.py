"""Stories of maps, storms, strange lights, wishes, long roads, tricks and winters."""

from __future__ import annotations

from .beats import friend, meet, night, relative, travel_time
from .world import Being, Story


def treasure_map(s: Story) -> None:
    """Clues lead from place to place to a chest with an unexpected content."""
    friend(s)
    hero: Being = s.cast["h"]
    s.cast["p"], s.cast["q"] = s.place(), s.place("wild")
    s.cast["src"] = s.choose(
        (
            "in an old book",
            "under a loose board",
            "in a bottle",
            "behind a picture",
            "in the pocket of an old coat",
            "in a hollow tree",
        )
    )
    s.paragraph()
    s.tell(
        "one day, {h} found a map {src}.",
        "{src}, {h} discovered a yellow piece of paper.|It was a map!",
        "one rainy day, {h} and {f} found an old map {src}.",
    )
    s.tell(
        '"look, a red cross!" said {f}. "There must be a treasure."',
        '"there is a cross on it," whispered {h}. "Let us go and see."',
        "a red line led over hills and rivers to a small cross.",
    )
    s.tell(
        "they took a lantern and some bread and set out.",
        "the next morning, they left early.",
        "nobody was allowed to know.",
    )
    s.tell(
        "first they came {p.to}.|There they found a sign that pointed to {q}.",
        'the first clue was {p.at}.|It said, "Look {q.at}."',
        "the map led them {p.to}, and from there {q.to}.",
    )
    travel_time(s)
    s.where[hero] = s.cast["q"]
    s.tell(
        "{q.at}, they began to dig.",
        "at last they stood {q.at}.|They counted ten steps and dug.",
        "they reached {q} in the evening and began to dig.",
    )
    s.tell(
        "the spade hit something hard.|It was a chest.",
        "after a while they found a wooden chest.",
        "under a flat stone lay a small chest.",
    )
    content, reaction = s.choose(
        (
            ("old coins", "they gave half of them to the poor"),
            ("a book full of stories", "they read it together all winter"),
            ('a mirror with the words "The treasure is you"', "they looked into it and laughed"),
            ("seeds of strange flowers", "soon the whole village was in bloom"),
            ("a letter from a child of long ago", "they wrote an answer and buried it again"),
            ("wooden toys", "they gave one to every child"),
            ("a golden compass", "it always showed the way home"),
            ('nothing but a note that said "Friendship is the treasure"', "they knew it was true"),
        )
    )
    s.cast.update(content=content, reaction=reaction)
    s.tell(
        "inside was {content}."
        if not content.startswith(("old coins", "seeds", "wooden"))
        else "inside were {content}.",
        "they opened it and found {content}.",
    )
    s.tell(
        "{reaction}.",
        "{reaction}, and they never told anyone where the chest was.",
        '"what a day!" said {f}.|{reaction}.',
    )
    s.fact("where did {h} find the map?", "{h} found it {src}.")
    s.fact("where was the chest?", "the chest was {q.at}.")
    s.fact(
        "what was in the chest?",
        "there was {content} in the chest."
        if not content.startswith(("old coins", "seeds", "wooden"))
        else "there were {content} in the chest.",
    )
    s.moral = s.choose(("the best treasure is a friend", "the way is as important as the goal"))


def storm(s: Story) -> None:
    """A storm cuts off the way home and the hero keeps others calm."""
    hero: Being = s.cast["h"]
    friend(s)
    s.cast["p"] = p = s.place()
    s.cast["shelter"] = s.choose(
        (
            "a small hut",
            "a dry cave",
            "an empty barn",
            "a hollow tree",
            "an old tower",
            "a shepherd's hut",
        )
    )
    s.paragraph()
    s.tell(
        "one day, {h} and {f} were {p.at}.|They did not see the black clouds.",
        "{h} and {f} spent the day {p.at}, and they forgot the time.",
        p=p,
    )
    s.tell(
        "suddenly the wind began to howl, and the rain came down in sheets.",
        "then lightning flashed, and thunder rolled over the land.",
        "all at once the sky turned dark, and hail hit the ground.",
    )
    s.tell(
        '"we must find shelter!" cried {h}.',
        '"take my hand!" shouted {h}.'
        if hero.kind != "animal"
        else '"stay close to me!" shouted {h}.',
    )
    s.tell(
        "they ran until they found {shelter}.",
        "not far away there was {shelter}.",
        "{h} remembered {shelter} nearby, and they reached it just in time.",
    )
    s.tell(
        '"I am afraid," said {f}.',
        "{f} was wet and shaking.",
        '"what if it never stops?" asked {f}.',
    )
    s.cast["calm"] = s.choose(
        (
            "sang every song that {h.he} knew".replace("{h.he}", hero.he),
            "told a funny story about a fish who wanted to be a bird",
            "counted the seconds between lightning and thunder",
            "shared the last piece of bread",
            "made a small fire",
        )
    )
    s.tell("so {h} {calm}.", "{h} was afraid, too, but {h.he} {calm}.")
    s.tell("slowly {f} became calm.", "after a while {f} even laughed.", "soon {f} fell asleep.")
    s.tell(
        "when they woke up, the sun was shining.",
        "in the evening the storm moved on.",
        "at last the rain stopped, and a rainbow stood in the sky.",
    )
    s.tell(
        "they walked home through the puddles.",
        "their families were waiting at the gate.",
        "the whole world smelled fresh and new.",
    )
    s.fact("where did they hide from the storm?", "they hid in {shelter}.")
    s.fact("who was afraid?", "{f} was afraid.")
    s.moral = s.choose(("after every storm the sun comes out", "together one is less afraid"))


def mystery(s: Story) -> None:
    """Something strange happens every night; the hero waits and finds out why."""
    hero: Being = s.cast["h"]
    s.cast["p"] = s.place("town")
    culprit = s.animal(hero)
    s.cast["f"] = culprit
    strange, why = s.choose(
        (
            ("one apple was missing", "{f.s} had six hungry children"),
            ("a strange light moved around", "{f.s} was looking for a lost ring"),
            ("soft music could be heard", "{f.s} was practicing for a feast"),
            ("someone swept the floor", "{f.s} wanted to say thank you for the warm milk"),
            ("a new flower stood at the door", "{f.s} wanted to have a friend"),
            ("one sock was missing", "{f.s} needed something soft for the winter"),
            ("somebody knocked three times", "{f.s} was lonely and did not dare to stay"),
            ("the gate stood open", "{f.s} liked to look at the moon on the water"),
        )
    )
    s.cast["strange"] = strange
    s.paragraph()
    s.tell(
        "then something odd happened.|Every night, {strange} {p.at}.",
        "for a week, {strange} {p.at}, night after night.",
        "one morning, everybody was talking about the same thing.|In the night, {strange} {p.at}.",
    )
    s.tell(
        '"it is a ghost," said the neighbors.',
        '"it must be a thief," said the people.',
        "nobody could explain it.",
    )
    s.tell(
        '"I want to know the truth," said {h}.',
        "{h} did not believe in ghosts.",
        '"tonight I will stay awake," {h} decided.',
    )
    night(s)
    s.tell("{h} hid and waited {p.at}.", "{h} sat in the dark {p.at} and listened.")
    s.tell("an hour passed, and then another.", "{h.p} eyes grew heavy.", "an owl called twice.")
    s.tell(
        "then {h.s} heard quiet steps.|It was {f.plain}!",
        "at midnight a shadow came closer.|It was only {f.plain}.",
        "something moved in the moonlight, and {h} saw {f.plain}.",
    )
    s.tell(
        '"so it was you," said {h}.|{f} was frightened. "Please do not be angry," {f.he} said.',
        '"why are you doing this?" asked {h}.|{f} looked at the ground.',
    )
    s.tell(why + ".", "it turned out that " + why + ".", "then {h} learned that " + why + ".")
    s.tell(
        '"you should have asked," said {h}. "I would have helped you."',
        "{h} felt sorry and promised to help.",
        '"come tomorrow by day," said {h}, "and be our guest."',
    )
    s.fact("what happened every night?", "every night, {strange}.")
    s.fact("who was it?", "it was {f}.")
    s.fact("where did {h} wait?", "{h} waited {p.at}.")
    s.moral = s.choose(("one should look before one judges", "the truth is often gentle"))


def wish(s: Story) -> None:
    """A magic being grants one wish, and the hero spends it on somebody else."""
    hero: Being = s.cast["h"]
    friend(s)
    s.cast["p"] = p = s.place("water")
    s.cast["giver"] = s.choose(
        (
            "a golden fish",
            "a silver snail",
            "a fairy with green wings",
            "a tiny star",
            "an old frog with a crown",
            "a talking shell",
        )
    )
    s.cast["giver2"] = "the " + s.cast["giver"].split(" ", 1)[1].split(" with")[0]
    trouble, result = s.choose(
        (
            ("{f} could not walk well", "the next day, {f} ran across the meadow"),
            ("the fields were dry", "in the same night it began to rain"),
            ("{f} was very lonely", "soon {f} had a house full of friends"),
            (
                "{f} had lost {f.his} home in a fire",
                "a new little house stood there in the morning",
            ),
            ("{f} was always cold in winter", "{f} found a warm coat on the chair"),
            ("the river had no bridge", "a white bridge stood there at dawn"),
            ("the old tree was dying", "the old tree was green again"),
        )
    )
    s.tell("only one thing was sad.|" + trouble + ".", "but " + trouble + ".")
    s.paragraph()
    s.go(hero, p)
    s.tell(
        "there {h.s} found {giver} that was caught in the weeds.",
        "suddenly {giver} looked up at {h.o}.",
        "in the sand lay {giver}, and it could speak.",
    )
    s.tell(
        '"help me, and you will have one wish," said {giver2}.',
        '"if you carry me into the water, I will give you one wish," said {giver2}.'
        if "fish" in s.cast["giver"] or "shell" in s.cast["giver"]
        else '"set me free, and I will give you one wish," said {giver2}.',
    )
    s.tell(
        "{h} helped at once.", "{h} did it without thinking of the wish.", "very gently {h} did so."
    )
    s.tell(
        '"what do you want?" asked {giver2}. "Gold? A castle? A crown?"',
        '"now speak," said {giver2}. "You may wish for anything."',
    )
    s.tell(
        "{h} thought of gold and of a castle, but then {h.he} thought of {f}.",
        "{h} did not need to think for long.",
        "{h} looked at the water and thought of home.",
    )
    s.tell(
        '"I wish for something for someone else," said {h} and whispered it.',
        "{h} bent down and whispered the wish.",
    )
    s.tell(
        '"a good wish," said {giver2} and was gone.',
        "{giver2} smiled and disappeared in a flash of light.",
    )
    s.tell(
        result + ".",
        "and really, " + result + ".",
        "when {h} came home, it had come true.|" + result + ".",
    )
    s.fact("who gave {h} a wish?", "{giver} gave {h} a wish.")
    s.fact("where did {h} find {giver2}?", "{h} found it {p.at}.")
    s.moral = s.choose(("the best wishes are for others", "a kind heart is richer than a king"))


def journey(s: Story) -> None:
    """The hero travels to see something great, sleeps outdoors and comes back changed."""
    hero: Being = s.cast["h"]
    friend(s)
    goal, sight = s.choose(
        (
            ("the sea", "the sea lay before them, blue and endless"),
            ("the top of the high mountain", "they could see seven valleys at once"),
            ("the great city", "the towers shone in the light of a thousand lamps"),
            ("the end of the rainbow", "there was only a wet field, but it was full of color"),
            ("the desert", "the sand lay in golden waves"),
            ("the northern lights", "green light danced across the sky"),
            ("the biggest tree in the world", "ten people could not reach around it"),
            ("the old stone circle", "the stones stood there like sleeping giants"),
        )
    )
    s.cast.update(goal=goal, sight=sight, p=s.place(), q=s.place("wild"))
    s.paragraph()
    s.tell(
        "{h} had one dream.|{h.s} wanted to see {goal}.",
        "all {h.p} life, {h.s} had wanted to see {goal}.",
        '"have you ever seen {goal}?" asked {h} one day.|"Never," said {f}.',
    )
    s.tell(
        '"then let us go," said {f}.',
        "so {h} packed a bag, and {f} came along.",
        "one morning, the two friends set out.",
    )
    s.tell(
        "on the first day they came {p.to}.|On the second day they came {q.to}.",
        "they walked past {p} and rested {q.at}.",
        "first the road led {p.to}, and then it went on {q.to}.",
    )
    s.tell(
        "at night they slept under the stars.",
        "in the evening they made a fire and told stories.",
        "when it got dark, they slept in a haystack.",
    )
    s.tell(
        'on the third day, {f} grew tired. "I cannot go on," {f.he} said.',
        'then {h} lost heart. "Maybe it is too far," {h.he} said.',
        "once they took the wrong path and had to go back.",
    )
    s.tell(
        '"we are almost there," said {h} and sang a marching song.'
        if s.rng.random() < 0.5
        else "they shared the last apple and went on.",
        "they rested for an hour, and then they went on.",
    )
    s.tell(
        "and then, behind the last hill, they stopped.|{sight}.",
        "at last they arrived.|{sight}.",
        "on the seventh day they got there.|{sight}.",
    )
    s.tell(
        "for a long time nobody said a word.",
        '"it was worth every step," said {h}.',
        "{h} laughed and cried at the same time.",
        '"it is bigger than any dream," whispered {f}.',
    )
    s.tell(
        "they stayed until evening and then began the long way home.",
        "{h} took a small stone to remember the day.",
        "when they came home, they had a thousand things to tell.",
    )
    s.fact("what did {h} want to see?", "{h} wanted to see {goal}.")
    s.fact("who went with {h}?", "{f} went with {h}.")
    s.moral = s.choose(("every long road begins with one step", "a journey is short with a friend"))
    s.where[hero] = s.cast["p"]


def trick(s: Story) -> None:
    """A small animal outwits a big one."""
    hero: Being = s.cast["h"]
    big = s.animal(hero, named=False, small=False)
    big.trait = s.choose(("hungry", "greedy", "proud", "grumpy"))
    s.cast["e"] = big
    s.cast["p"] = p = s.place("wild")
    s.paragraph()
    s.go(hero, p)
    s.tell(
        "suddenly {e.intro} stood in the way.",
        "there {e.intro} jumped out from behind a rock.",
        "{e.intro} blocked the path.",
    )
    s.tell(
        '"give me everything you have!" shouted {e}.',
        '"this path is mine," growled {e}.',
        '"nobody may pass here," said {e}.',
        '"I will not let you go," said {e}.',
    )
    s.tell(
        "{h} was afraid, but {h.he} thought quickly.",
        "{h} did not run.|{h.s} only smiled.",
        "{h.p} heart beat fast, but {h.p} head was clear.",
    )
    ruse, outcome = s.choose(
        (
            (
                '"surely you are strong," said {h}, "but can you hold up this rock?"',
                "{e} pressed against the rock with all {e.his} might, and {h} walked away",
            ),
            (
                '"I would give you my food," said {h}, "but the one in the well wants it, too."',
                "{e} looked into the well, saw another face and ran away in fear",
            ),
            (
                '"may I sing one last song?" asked {h}.',
                "the song was so soft and long that {e} fell asleep",
            ),
            (
                '"I bet that you cannot count all the leaves on this tree," said {h}.',
                "{e} began to count, and {h} was gone before {e.he} reached a hundred",
            ),
            (
                '"look, the moon has fallen into the pond like a big cheese!" said {h}.',
                "{e} jumped into the pond to get it, and {h} walked on",
            ),
            (
                '"let us have a contest," said {h}. "Who can keep both eyes closed longer?"',
                "{e} closed {e.his} eyes, and {h} tiptoed past",
            ),
            (
                '"my big brother is coming just behind me," said {h}, '
                '"and he is much bigger than you."',
                "{e} looked at the long shadow on the wall and ran away",
            ),
        )
    )
    s.tell(ruse)
    s.tell(
        '"that is easy!" said {e}.',
        "{e} laughed, for {e.he} was very proud.",
        '"nothing simpler than that," said {e}.',
    )
    s.tell(outcome + ".", "and so " + outcome + ".")
    s.tell(
        "from far away {h} could hear {e} shouting.",
        "{h} laughed all the way home.",
        "after that, {e} never stopped anyone again.",
    )
    s.fact("who stopped {h}?", "{e} stopped {h}.")
    s.fact("where did it happen?", "it happened {p.at}.")
    s.moral = s.choose(
        ("a clever head is stronger than strong arms", "one does not have to be big to win")
    )


def winter_store(s: Story) -> None:
    """One works in summer, one plays; in winter they learn from each other."""
    friend(s)
    s.paragraph()
    s.tell(
        "all summer long, {h} carried nuts and grain into {h.his} house.",
        "in summer, {h} worked hard and filled {h.his} cellar.",
        "while the sun was shining, {h} gathered wood, nuts and apples.",
    )
    s.tell(
        '"why do you work so much?" asked {f}. "Come and sing!"',
        "{f} lay in the grass and played the flute.",
        "{f} danced all day and laughed at {h}.",
    )
    s.tell('"winter will come," said {h}.', '"you should save something, too," said {h}.')
    s.tell("but {f} did not listen.", '"winter is far away," said {f}.', "{f} only shrugged.")
    s.paragraph()
    s.tell(
        "then the snow came, and it stayed for a long time.",
        "one morning, the first snow lay on the ground.",
        "winter came early that year.",
    )
    s.tell(
        "{f} had nothing to eat and no wood for the fire.", "{f} sat in a cold house and shivered."
    )
    s.tell(
        'at last {f} knocked on {h.p} door. "I am so cold," {f.he} said.',
        "{f} was ashamed, but {f.he} went to {h} and asked for help.",
    )
    s.tell(
        "{h} could have said no, but {h.he} opened the door wide.",
        '"come in," said {h}. "There is enough for two."',
    )
    s.tell(
        "{f} had no food, but {f.he} had {f.his} songs.|The winter was warm and merry.",
        "every evening {f} played for {h}, and the long nights seemed short.",
    )
    s.tell(
        '"next summer I will help you," said {f}.|"And I will dance with you," said {h}.',
        "the next summer, they worked in the morning and danced in the evening.",
    )
    s.fact("who worked all summer?", "{h} worked all summer.")
    s.fact("who was cold in winter?", "{f} was cold in winter.")
    s.moral = s.choose(("one needs both bread and songs", "it is wise to think of tomorrow"))


def crossing(s: Story) -> None:
    """A river must be crossed; the third idea works."""
    s.together = False
    hero: Being = s.cast["h"]
    s.cast["q"] = s.place("town")
    f = s.animal(hero)
    s.cast["reason"] = s.choose(
        (
            "bring medicine {q.to}",
            "visit {h.p} cousin {q.at}",
            "be {q.at} before dark",
            "carry a letter {q.to}",
        )
    )
    s.cast["reason"] = str(s.cast["reason"]).format(**s.cast)
    s.paragraph()
    s.tell("one day, {h} had to {reason}.", "{h} wanted to {reason}.")
    s.tell(
        "but the flood had carried the bridge away.",
        "but the river was wide, and there was no bridge.",
        "but the old bridge had fallen into the river.",
    )
    tries = [
        ("{h.s} tried to jump from stone to stone", "the stones were too slippery"),
        ("{h.s} tried to wade through the water", "it was too deep"),
        ("{h.s} threw a rope to the other side", "it did not hold"),
        ("{h.s} tied some branches together", "the raft fell apart"),
        ("{h.s} looked for a boat", "there was none"),
        ("{h.s} laid a long branch across", "it broke in the middle"),
    ]
    s.rng.shuffle(tries)
    (a, no_a), (b, no_b) = tries[:2]
    s.tell("first " + a + ", but " + no_a + ".")
    s.tell("then " + b + ", but " + no_b + ".", "after that " + b + ", but " + no_b + ".")
    meet(s, "f", f)
    s.tell('"you look sad," said {f}. "What is wrong?"', '"can I help you?" asked {f}.')
    s.cast["way"] = s.choose(
        (
            "a fallen tree that reached from bank to bank",
            "a shallow place behind the bend",
            "an old boat in the reeds",
            "a row of flat stones under the water",
            "a secret bridge made of roots",
        )
    )
    s.tell(
        '"I know this river well," said {f}. "Come with me."|Behind the reeds there was {way}.',
        "{f} showed {h.o} {way}.",
    )
    s.tell(
        "so {h} crossed the river and did not even get wet.",
        "step by step {h} got to the other side.",
    )
    s.tell('"thank you!" called {h} and waved.', "{h} thanked {f} and hurried on.")
    s.go(hero, s.cast["q"])
    s.tell("{h} had come just in time.", "everyone was glad to see {h.o}.")
    s.fact("what did {f} show {h}?", "{f} showed {h} {way}.")
    s.fact("where did {h} go?", "{h} went {q.to}.")
    s.moral = s.choose(("there is always another way", "those who ask will find the way"))


_SNOW = (
    ("a snowman", "snow", "in spring only a carrot and a hat were left"),
    ("a snow rabbit", "fresh snow", "when the sun came, it melted into a clear puddle"),
    ("a snow castle", "snow", "in the first warm night it fell down"),
)
_SUMMER = (
    ("a sand castle", "wet sand", "in the morning the waves had carried it away"),
    ("a scarecrow", "straw and old clothes", "the sparrows built a nest in its hat"),
    ("a tree house", "old boards", "the next storm carried off its roof"),
)
_AUTUMN = (
    ("a giant made of leaves", "red and yellow leaves", "the next storm carried it over the roofs"),
    ("a scarecrow", "straw and old clothes", "the sparrows built a nest in its hat"),
)
_FIGURES = {"winter": _SNOW, "spring": _SUMMER, "summer": _SUMMER, "autumn": _AUTUMN}


def snow_day(s: Story) -> None:
    """Friends build a figure of snow, sand or leaves; it seems to come alive for a night."""
    friend(s)
    figure, stuff, end = s.choose(_FIGURES[s.season])
    s.cast.update(figure=figure, stuff=stuff, end=end, it="the " + figure.split(" ", 1)[1])
    s.paragraph()
    s.tell(
        "one day, {h} and {f} built {figure}.",
        '"let us build {figure}," said {f}.',
        "it was just the right day to build {figure}.",
    )
    s.tell(
        "{h} gathered {stuff}, and {f} found two round stones for the eyes."
        if figure not in ("a snow castle", "a sand castle", "a tree house")
        else "{h} gathered {stuff}, and {f} found shells for the door.",
        "they worked all afternoon with {stuff} until their fingers were cold."
        if "snow" in stuff
        else "they worked all afternoon with {stuff}.",
    )
    s.tell(
        "{it} was taller than both of them.", '"it is perfect," said {f}.', "{h} gave it a name."
    )
    night(s)
    s.tell(
        "{h} looked out of the window, and {it} seemed to wave.",
        "in the moonlight {it} seemed to smile.",
        '"good night," whispered {h}, and something answered softly.',
    )
    s.tell("{end}.", "of course it did not last.|{end}.")
    s.tell(
        '"we will build a new one," said {f}.',
        "{h} was sad at first, but then {h.he} smiled.",
        '"nothing lasts forever," said {h}, "but I will always remember it."',
    )
    s.fact("what did they build?", "they built {figure}.")
    s.moral = "beautiful moments stay in the heart"


def visit(s: Story) -> None:
    """The hero visits an elder, who tells of the old days and gives something to keep."""
    hero: Being = s.cast["h"]
    relative(s)
    s.cast["o"] = o = s.thing("home", "treasure", "music", "wear", "tool")
    s.cast["b"] = s.food()
    s.paragraph()
    s.tell(
        "on Sunday, {h} went to visit {e}.",
        "one day, {h} wanted to see {e}.",
        "once a week, {h} visited {e}.",
    )
    s.tell(
        "{e} was sitting by the fire.",
        "{e} was waiting at the door.",
        "{e} had already prepared {b}.",
    )
    s.tell(
        '"tell me about the old days," said {h}.',
        '"were you ever young?" asked {h}.|{e} laughed.',
        '"what is that?" asked {h} and pointed at {o.a}.',
    )
    tale = s.choose(
        (
            "there was no road here, only a path for goats",
            "I sailed around the world on a small ship",
            "I danced every night until the lamps went out",
            "I once met a king who could not read",
            "a great flood came, and we lived on the roof",
            "I walked for nine days to see the sea",
            "we had no clocks, and the rooster told us the time",
            "I built this house with my own hands",
        )
    )
    s.cast["tale"] = tale
    s.tell('"when I was young," said {e}, "{tale}."', '"long ago {tale}," said {e}.')
    s.tell(
        "{h} listened with wide eyes.",
        "{h} forgot to eat.",
        '"is that really true?" asked {h}.|"Every word," said {e}.',
    )
    s.tell(
        'then {e} opened a drawer and took out {o.a}.|"This is for you," {e.he} said.',
        '"this {o.noun} was with me all the time," said {e}. "Now it is yours."',
        "before {h} left, {e} gave {h.o} {o.a}.",
    )
    s.keep(o, hero)
    s.tell(
        "{h} carried it home like a treasure.",
        "{h} promised to take good care of it.",
        "on the way home, {h} held {o.the} very tightly.",
    )
    s.fact("who did {h} visit?", "{h} visited {e}.")
    s.fact("what did {e} give {h}?", "{e} gave {h} {o.a}.")
    s.moral = s.choose(("old people carry many stories", "memories are a gift"))
