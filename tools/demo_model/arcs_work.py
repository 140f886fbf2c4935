"""Stories of making, growing, learning, cooking, delivering and competing."""

from __future__ import annotations

from . import words
from .beats import friend, meet, relative
from .world import Being, Story, with_article

INVENTIONS = (  # what, first failure, what was missing, success
    ("a flying machine", "it fell into the pond", "longer wings", "it rose above the trees"),
    ("a wagon with a sail", "it rolled into a hedge", "a brake", "it raced down the road"),
    ("a boat made of reeds", "it sank at once", "a coat of wax", "it floated like a duck"),
    (
        "a machine that could peel apples",
        "it threw the apples at the wall",
        "a smaller wheel",
        "it peeled a hundred apples in a row",
    ),
    ("a water clock", "it ran backward", "a second cup", "it showed the right hour"),
    ("a lamp that never went out", "it smoked and hissed", "a glass lid", "it burned all night"),
    (
        "a bridge of rope",
        "it hung down into the water",
        "two strong posts",
        "even the heaviest cart could cross it",
    ),
    (
        "a kite as big as a door",
        "it would not leave the ground",
        "a longer tail",
        "it climbed up to the clouds",
    ),
    (
        "a bed that rocked by itself",
        "it threw everyone out",
        "a softer spring",
        "it rocked as gently as a boat",
    ),
    (
        "a bell that rang at sunrise",
        "it rang at midnight",
        "a mirror",
        "it rang with the first light",
    ),
)


def invention(s: Story) -> None:
    """The hero builds something, fails, finds what was missing and succeeds."""
    friend(s)
    what, failed, missing, success = s.choose(INVENTIONS)
    s.cast.update(what=what, failed=failed, missing=missing, success=success)
    s.paragraph()
    s.tell(
        "one day, {h} decided to build {what}.",
        '"I am going to build {what}," said {h} one morning.',
        "{h} had a great plan.|{h.s} wanted to build {what}.",
    )
    s.tell(
        '"that will never work," said the neighbors.',
        "everyone laughed, but {f} did not laugh.",
        '"may I help?" asked {f}.',
        "{f} brought nails, string and a box of old wheels.",
    )
    s.tell(
        "they sawed and hammered for three days.",
        "for a whole week, {h} worked from morning to evening.",
        "{h} drew a plan, and then {h.he} began to work.",
    )
    s.tell(
        "but when they tried it for the first time, {failed}.",
        "the first try went wrong.|{failed}!",
        "at last it was ready, but {failed}.",
    )
    s.tell(
        '"I give up," said {h} and sat down on the floor.',
        "{h} was so sad that {h.he} kicked the bucket.",
        "some people laughed, and {h} turned red.",
    )
    s.tell(
        '"you are nearly there," said {f}. "It only needs {missing}."',
        '{f} walked around it twice. "I think {missing} would help," {f.he} said.',
        "that night, {h} had an idea.|It needed {missing}!",
    )
    s.tell(
        "they tried again, and this time {success}.",
        "the next day, they added {missing}, and look, {success}!",
        "{h} changed it, and everyone held their breath.|Then {success}.",
    )
    s.tell(
        "everybody cheered.",
        '"it works!" shouted {h}.',
        "{h} and {f} danced around the yard.",
        "even the neighbors clapped their hands.",
    )
    s.fact("what did {h} build?", "{h} built {what}.")
    s.fact("what was missing?", "it needed {missing}.")
    s.moral = s.choose(
        (
            "every mistake teaches something",
            "one must try more than once",
            "good ideas need patience",
        )
    )


PLANTS = (
    ("a pumpkin seed", "a pumpkin as big as a cart", "they made soup for the whole village"),
    ("a sunflower seed", "a sunflower taller than the house", "the birds ate its seeds all winter"),
    ("an apple seed", "a small apple tree", "in later years it gave a hundred apples"),
    ("a strange black seed", "a vine with blue flowers", "people came from far away to see it"),
    ("a bean", "a bean plant that reached the roof", "there were beans for everyone"),
    ("a cherry stone", "a young cherry tree", "everyone came to eat the sweet cherries"),
    ("a melon seed", "a melon so heavy that two had to carry it", "everybody got a juicy slice"),
)


def garden(s: Story) -> None:
    """A seed needs weeks of care; impatience almost spoils it."""
    s.at_home = True
    relative(s)
    seed, plant, result = s.choose(PLANTS)
    s.cast.update(seed=seed, plant=plant, result=result)
    s.paragraph()
    s.tell(
        "when spring came, {e} gave {h.o} {seed}.",
        "when the days grew longer, {e} had something for {h.o}.|"
        '"This is for you," said {e.he} and put {seed} into {h.p} hand.',
        "in the first warm days of the year, {h} got {seed} from {e}.",
    )
    s.tell(
        '"plant it, water it and wait," said {e}.',
        '"it needs three things," said {e}. "Sun, water and patience."',
    )
    s.tell(
        "{h} dug a hole and covered the seed with soft earth.",
        "{h} planted it in the best corner of the garden.",
        "{h} put it into the ground and patted the earth flat.",
    )
    s.tell(
        "the next day, {h} looked, but nothing had happened.",
        "one day passed, and then another.|Nothing grew.",
        "after a week there was still nothing to see.",
    )
    s.tell(
        '"it is taking too long," said {h}.|"Wait a little more," said {e}.',
        "{h} wanted to dig it up again, but {e} shook {e.his} head.",
        '"maybe it is asleep," said {h}.|"Then do not wake it," laughed {e}.',
    )
    s.tell(
        "so {h} watered it every morning and pulled out the weeds.",
        "every day {h} brought water from the well.",
        "when it was hot, {h} gave it water, and when it was windy, {h.he} built a small fence.",
    )
    s.tell(
        "then, one morning, a green tip came out of the ground.",
        "at last two tiny leaves appeared.",
        "after a warm rain, a green shoot stood there.",
    )
    s.tell(
        "it grew and grew, and by the end of summer it was {plant}.",
        "all summer long it grew, until it was {plant}.",
        "by autumn, {h} had {plant}.",
    )
    s.tell("{result}.", "and {result}.", "{h} was proud, for {result}.")
    s.fact("what did {h} plant?", "{h} planted {seed}.")
    s.fact("what did it become?", "it became {plant}.")
    s.moral = s.choose(
        ("good things take time", "patience makes things grow", "little things can become great")
    )


def soup(s: Story) -> None:
    """A pot of water becomes a feast because everybody adds something."""
    hero: Being = s.cast["h"]
    s.cast["p"] = p = s.place("town")
    s.paragraph()
    s.tell(
        "one cold evening, {h} came {p.to} with nothing but a big pot.",
        "one day, {h} put a big pot of water on the fire {p.at}.",
        "it had been a hard winter, and nobody had much to eat.|"
        "{h} put a big pot on the fire {p.at}.",
        p=p,
    )
    s.tell(
        '"what are you cooking?" asked the people.|"The best soup in the world," said {h}.',
        '"I am making soup for everyone," said {h}.',
        "{h} stirred the water and hummed a song.|People came closer.",
    )
    parts = list(words.SOUP_PARTS)
    s.rng.shuffle(parts)
    guests = []
    for part in parts[: s.choose((2, 3, 3))]:
        guest = (
            s.rng.choice((s.adult, s.child, s.animal))(hero)
            if hero.kind != "animal"
            else s.animal(hero)
        )
        guests.append(guest)
        s.cast["x"], s.cast["part"] = guest, part
        s.tell(
            '"I have {part}," said {x.plain}.|{x.s} dropped it into the pot.',
            "{x.plain} brought {part} and put it in.",
            '"perhaps {part} would make it better," said {x.plain}.|Into the pot it went.',
            "then {x.plain} came along with {part}.",
        )
        s.fact("what did {x} bring?", "{x} brought {part}.")
    s.tell(
        "soon the soup smelled so good that everyone gathered around the fire.",
        "{h} tasted it and nodded.|Now it was just right.",
        "the soup bubbled, and its smell went through the streets.",
    )
    s.tell(
        "there was enough for all, and even the cat got a bowl.",
        "they ate and laughed until late at night.",
        "everybody got a full bowl, and nobody went home hungry.",
    )
    s.tell(
        '"how did you do it?" asked {x}.|"I only brought the pot," said {h}. "You did the rest."',
        '"it is the best soup I have ever eaten," said {x}.',
    )
    s.fact("where did {h} cook the soup?", "{h} cooked it {p.at}.")
    s.moral = s.choose(
        (
            "many small gifts make a feast",
            "together we have enough",
            "food tastes best when it is shared",
        )
    )


def delivery(s: Story) -> None:
    """A parcel is carried past two obstacles to the right door."""
    s.together = False
    hero: Being = s.cast["h"]
    s.cast["o"] = o = s.thing("home", "treasure", "music", "wear")
    s.cast["p"], s.cast["q"] = s.place(), s.place()
    e = s.adult(hero) if hero.kind != "animal" else s.animal(hero)
    s.cast["e"] = e
    s.cast["f"] = f = s.anyone(hero)
    s.paragraph()
    s.tell(
        "one day, {e.intro} asked {h.o} for help.",
        "one morning, {e.intro} knocked on {h.p} door.",
    )
    s.tell(
        '"please bring {o.a} to {f}," said {e}. "{F} lives {q.at}."',
        '"can you carry {o.a} {q.to}?" asked {e}. "It is for {f}."',
        F=f.name[0].upper() + f.name[1:],
    )
    s.keep(o, hero)
    s.tell(
        "{h} packed {o.the} carefully and set out.",
        '"of course," said {h} and took {o.the}.',
        "{h} promised to be quick.",
    )
    obstacles = [
        ("a tree had fallen across the road", "{h.s} climbed over it"),
        ("the bridge was broken", "{h.s} crossed the stream on the stones"),
        ("a goat blocked the path", "{h.s} gave it some fresh grass, and it stepped aside"),
        ("a gust of wind almost tore the parcel away", "{h.s} held on with all {h.his} strength"),
        (
            "it began to rain",
            "{h.s} hid the parcel under {h.his} coat"
            if hero.kind != "animal"
            else "{h.s} covered the parcel with big leaves",
        ),
        ("the path split in two", "{h.s} asked a bird, and the bird showed the right way"),
        ("thick fog came up", "{h.s} followed the sound of the bells"),
        ("a gate was locked", "{h.s} found a gap in the hedge"),
    ]
    s.rng.shuffle(obstacles)
    for number, (trouble, way) in enumerate(obstacles[:2]):
        if number == 0:
            s.tell(
                "first " + trouble + ", but " + way + ".",
                "soon " + trouble + ".|" + way + ".",
                "halfway there, " + trouble + ", but " + way + ".",
            )
        else:
            s.tell(
                "then " + trouble + ".|" + way + ".",
                "after that, " + trouble + ", but " + way + ".",
            )
    s.go(hero, s.cast["q"])
    s.tell(
        "{f} was already waiting.",
        "there was {f}, {f.tag}, at the door.",
        '"are you {f}?" asked {h}.|"Yes, I am," said {f.tag}.' if f.named else "there was {f}.",
    )
    s.tell('"this is for you, from {e}," said {h}.', "{h} handed over {o.the}.")
    s.tell(
        "{f} opened the parcel and smiled from ear to ear.",
        '"{O}!" cried {f}. "I have waited for it so long."',
        "{f} was so pleased that {f.he} invited {h.o} to tea.",
        O=o.a[0].upper() + o.a[1:],
    )
    s.keep(o, f)
    s.fact("what did {h} carry?", "{h} carried {o.a}.")
    s.fact("who got {o.the}?", "{f} got {o.the}.")
    s.fact("who sent {o.the}?", "{e} sent {o.the}.")
    s.moral = s.choose(("those who keep going will arrive", "a good helper can be trusted"))


SKILLS = (  # (to learn X, first try, later)
    ("to bake bread", "the bread was as hard as a brick", "the bread was soft and golden"),
    ("to play the violin", "it sounded like an angry cat", "the melody was as sweet as honey"),
    ("to skate", "{h.s} fell down ten times", "{h.s} made a perfect circle on the ice"),
    ("to swim", "{h.s} swallowed a lot of water", "{h.s} swam across the whole lake"),
    ("to juggle", "all the balls rolled under the table", "five balls flew through the air"),
    ("to sew", "the shirt had three sleeves", "the shirt fitted perfectly"),
    ("to paint", "the horse looked like a potato", "the horse seemed to breathe"),
    ("to whistle", "only air came out", "the birds whistled back"),
    ("to row a boat", "the boat turned in circles", "the boat glided straight across the water"),
    ("to ride", "{h.s} slid off on the other side", "{h.s} galloped over the hill"),
    ("to make pots", "the pot fell flat on the table", "the pot was round and smooth"),
    ("to tell stories", "everyone fell asleep", "everyone listened with open mouths"),
    ("to dance", "{h.s} stepped on everybody's feet", "{h.s} floated across the floor"),
    (
        "to read the stars",
        "{h.s} mixed up north and south",
        "{h.s} found the way on the darkest night",
    ),
)


def apprentice(s: Story) -> None:
    """A skill is learned from a patient teacher."""
    hero: Being = s.cast["h"]
    skill, bad, good = s.choose(SKILLS)
    s.cast["skill"] = skill
    s.cast["p"] = s.place()
    teacher = s.adult(hero) if hero.kind != "animal" else s.animal(hero)
    s.paragraph()
    s.tell(
        "{h} had one great wish.|{h.s} wanted {skill}.",
        "one day, {h} decided {skill}.",
        "more than anything in the world, {h} wanted {skill}.",
    )
    s.go(hero, s.cast["p"])
    meet(s, "e", teacher)
    s.tell('"will you teach me?" asked {h}.', '"please teach me {skill}," said {h}.')
    s.tell(
        '"I will, but you must be patient," said {e}.',
        '"come every morning," said {e}.',
        "{e} looked at {h} for a long time and nodded.",
    )
    s.tell(
        "on the first day, " + bad + ".",
        "the beginning was hard.|" + bad + ".",
        "{h} tried, but " + bad + ".",
    )
    s.tell("{h} wanted to give up.", '"I will never learn it," sighed {h}.', "everyone laughed.")
    s.tell(
        '"every master was once a beginner," said {e}.',
        '"try again," said {e}. "Slowly."',
        '"I was much worse when I began," said {e}.',
        '"nobody learns it in a day," said {e}.',
    )
    s.tell(
        "so {h} practiced every day, in the sun and in the rain.",
        "{h} practiced in the morning and in the evening.",
        "weeks went by, and {h} kept trying.",
    )
    s.tell(
        "then one day, " + good + ".",
        "and when {season} came again, " + good + ".",
        "at last " + good + ".",
    )
    s.tell(
        '"now you are a master, too," said {e}.',
        "{e} was very proud.",
        '"you see?" said {e} and laughed.',
        "{h} could hardly believe it.",
    )
    s.fact("what did {h} want to learn?", "{h} wanted {skill}.")
    s.fact("who taught {h}?", "{e} taught {h}.")
    s.moral = s.choose(
        (
            "practice makes a master",
            "one must fall before one can fly",
            "those who keep trying will learn",
        )
    )


CONTESTS = (
    ("a race around the lake", "run the fastest", "ran as fast as the wind"),
    ("a singing contest", "sing the sweetest song", "sang with a clear voice"),
    ("a pie contest", "bake the best pie", "baked a pie with plums and nuts"),
    ("a kite contest", "fly the highest kite", "let the kite climb up to the clouds"),
    ("a contest for the best story", "tell the best story", "told a story about the moon"),
    ("a boat race", "row across the bay first", "rowed with long, strong strokes"),
    ("a climbing contest", "reach the top of the tower first", "climbed up step by step"),
    ("a pumpkin contest", "carve the funniest pumpkin", "carved a pumpkin with a wide grin"),
)


def contest(s: Story) -> None:
    """The hero may win, but stops to help a rival."""
    hero: Being = s.cast["h"]
    what, goal, did = s.choose(CONTESTS)
    prize = s.thing("treasure", "music")
    s.cast.update(what=what, goal=goal, done=did, o=prize)
    rival = s.peer(hero)
    rival.trait = s.choose(("proud", "boastful", "loud"))
    s.cast["f"] = rival
    s.paragraph()
    s.tell(
        "every year there was {what} in the village.",
        "one day, there was {what} in the village.",
        '"tomorrow there will be {what}!" shouted the crier.',
    )
    s.tell("whoever could {goal} would get {o.a}.", "the prize was {o.a}.")
    s.tell(
        '"I will win, of course," said {f.intro}.',
        "{f.intro} was sure to win.",
        '{f.intro} laughed at {h}. "You have no chance," {f.he} said.',
    )
    s.tell(
        "{h} said nothing and practiced every day.",
        "{h} practiced until the stars came out.",
        "{h} only wanted to do {h.his} best.",
    )
    s.paragraph()
    s.tell(
        "at last the great day came.",
        "then the day of the contest came, and {sky}.",
        "everyone came to watch.",
        sky=s.sky(),
    )
    s.tell("{h} {done}.", "when it was {h.p} turn, {h.he} {done}.")
    if s.rng.random() < 0.5:
        s.tell(
            "but then {f} slipped and fell.|{h} stopped at once and helped {f.o} up.",
            "suddenly {f} needed help.|{h} forgot the prize and ran to {f.o}.",
            "then {h} saw that {f} was hurt.|{h.s} turned around and helped {f.o}.",
        )
        s.tell(
            "so somebody else won, but the people cheered for {h}.",
            "in the end, they came in last, side by side.|The crowd clapped louder than ever.",
        )
        s.tell(
            '"why did you help me?" asked {f}.|"Because you needed it," said {h}.',
            '"I was wrong about you," said {f}. "Thank you."',
        )
        s.tell("{f} was never boastful again.", "the judge gave {h} {o} for {h.his} good heart.")
        s.fact("who helped {f}?", "{h} helped {f}.")
        s.moral = s.choose(("helping is better than winning", "a kind heart is the finest prize"))
    else:
        s.tell(
            "{f} had not practiced at all and made one mistake after another.",
            "{f} was so sure of {f.self} that {f.he} came too late.",
            "{f} looked around proudly, stumbled and lost.",
        )
        s.tell(
            "so {h} won, and everybody cheered.",
            "the judge gave {o.the} to {h}.",
            '"the winner is {h}!" called the judge.',
        )
        s.tell(
            '{f} came over and said, "You were better than me."',
            '"will you teach me?" asked {f}.|"Of course," said {h}.',
            "{h} let {f} hold {o.the}, too.",
        )
        s.keep(prize, hero)
        s.fact("who won?", "{h} won.")
        s.moral = s.choose(("pride comes before a fall", "hard work is better than big words"))
    s.fact("what was the prize?", "the prize was {o.a}.")


def gift(s: Story) -> None:
    """A birthday present is made by hand, with parts from several places."""
    friend(s)
    made, parts = s.choose(
        (
            ("a wind chime", (("some shells", "on the beach"), ("some string", "at home"))),
            ("a paper lantern", (("thin paper", "at the market"), ("a candle", "in the kitchen"))),
            ("a crown of flowers", (("daisies", "in the meadow"), ("ivy", "on the old wall"))),
            ("a warm scarf", (("some wool", "from the sheep"), ("blue dye", "from berries"))),
            (
                "a little boat",
                (("bark", "in the forest"), ("a leaf for the sail", "in the garden")),
            ),
            ("a honey cake", (("honey", "from the bees"), ("flour", "at the mill"))),
            ("a picture book", (("paper", "in the attic"), ("red ink", "from the library"))),
            ("a birdhouse", (("some boards", "behind the barn"), ("nails", "at the forge"))),
        )
    )
    s.cast.update(made=made, a=parts[0][0], ap=parts[0][1], b=parts[1][0], bp=parts[1][1])
    s.paragraph()
    s.tell(
        "soon it would be {f.p} birthday.",
        "it was the day before {f.p} birthday.",
        "{f} was going to have a birthday, and {h} had no present.",
    )
    s.tell(
        '"I have no money," thought {h}, "but I can make something."',
        "{h} thought and thought.|Then {h.he} had an idea.",
        '"I will make {made}," {h} decided.',
    )
    s.tell(
        "first {h.s} got {a} {ap}.", "{h} got {a} {ap}.", "the next morning, {h.s} got {a} {ap}."
    )
    s.tell(
        "then {h.s} got {b} {bp}.",
        "{h.s} also needed {b} and got it {bp}."
        if parts[1][0] != "nails"
        else "after that {h.s} got {b} {bp}.",
    )
    s.tell(
        "all evening {h.s} worked by the light of a lamp.",
        "{h.s} worked in secret, so that {f} would not notice.",
        "it was not easy, and {h} had to begin three times.",
    )
    s.tell("at last {made} was ready.", "when the sun rose, {made} lay on the table.")
    s.tell(
        '"happy birthday!" said {h} and gave {f.o} {made}.',
        "{h} gave {f.o} {made} and waited.|{h.p} heart beat fast.",
    )
    s.tell(
        '"you made this for me?" asked {f}. "It is the best present of all."',
        "{f} was so happy that {f.he} could not speak.",
        '"it is wonderful!" cried {f} and hugged {h}.',
    )
    s.fact("what did {h} make?", "{h} made {made}.")
    s.fact("who had a birthday?", "{f} had a birthday.")
    s.moral = s.choose(("a gift made with love is the best gift", "love is in the little things"))


def broken_bell(s: Story) -> None:
    """Something the whole village needs stops working; the hero finds the small reason."""
    hero: Being = s.cast["h"]
    thing, effect, cause, cure = s.choose(
        (
            (
                "the village bell",
                "nobody knew when to get up",
                "a bird had built its nest inside",
                "carried the nest to a safe tree",
            ),
            (
                "the big mill",
                "there was no flour for bread",
                "a branch was stuck in the wheel",
                "pulled the branch out of the wheel",
            ),
            (
                "the well",
                "the people had no water",
                "a heap of leaves blocked the spring",
                "cleared the leaves away",
            ),
            (
                "the clock tower",
                "everyone came too late",
                "a spider had tied up the wheels",
                "freed the wheels with a feather",
            ),
            (
                "the lighthouse",
                "the ships could not find the harbor",
                "the glass was covered with dust",
                "washed the glass until it shone",
            ),
            (
                "the fountain",
                "the square was silent",
                "a ball was stuck in the pipe",
                "pulled the ball out with a hook",
            ),
            (
                "the school bell",
                "the lessons never ended",
                "the rope was torn",
                "tied a new rope to the bell",
            ),
        )
    )
    s.cast.update(thing=thing, effect=effect, cause=cause, cure=cure)
    s.paragraph()
    s.tell(
        "one day, {thing} stopped working, and {effect}.",
        "one morning, something was wrong.|{thing} did not work, and {effect}.",
    )
    s.tell(
        "strong people came with hammers, but nothing helped.",
        '"we need a new one," said the mayor, "but we have no money."',
        "three clever people looked at it and shook their heads.",
    )
    s.tell(
        '"may I try?" asked {h}.|"You?" laughed the others.',
        '"let me have a look," said {h}.',
        "then {h} stepped forward.",
    )
    s.tell(
        "{h} did not hurry.|{h.s} looked and listened.",
        "{h} took a lamp and looked into every corner.",
        "while the others talked, {h} climbed up and looked inside.",
    )
    s.tell(
        "soon {h.s} saw that {cause}.",
        "and there it was.|{cause}!",
        '"I know what it is," said {h}.|{cause}.',
    )
    s.tell("carefully {h.s} {cure}.", "{h} {cure}, and it was done.", "so {h} {cure}.")
    s.tell("at once {thing} worked again.", "{thing} worked better than before.")
    s.tell(
        '"hurray for {h}!" shouted the people.',
        "the mayor shook {h.p} hand." if hero.kind != "animal" else "the mayor bowed before {h}.",
        "the whole village celebrated that night.",
    )
    s.fact("what stopped working?", "{thing} stopped working.")
    s.fact("why did it stop?", "{cause}.")
    s.moral = s.choose(
        ("looking closely is better than shouting", "small causes can have great effects")
    )


def shop_day(s: Story) -> None:
    """A working day with one odd customer, for heroes with a trade."""
    s.together = False
    hero: Being = s.cast["h"]
    s.cast["o"] = o = s.thing("tool", "home", "wear", "music")
    s.cast["f"] = f = s.anyone(hero)
    s.paragraph()
    s.tell(
        "one day, {f.intro} came to see {h}.",
        "one afternoon, {f.intro} stood at the door.",
        "one evening, just before closing, {f.intro} came in.",
    )
    s.tell(
        '"I need {o.a}," said {f}, "but I cannot pay."',
        '"can you give me {o.a}?" asked {f}. "I will pay you next month."',
        '"I have lost my {o.noun}," said {f}, "and I have no money for a new one."',
    )
    s.cast["reason"] = s.choose(
        (
            "my mother is ill",
            "I start my first job tomorrow",
            "it is my daughter's birthday" if f.kind == "adult" else "it is my sister's birthday",
            "we have a feast tonight",
            "a storm has taken everything",
            "I must travel far",
        )
    )
    s.tell('"why do you need it?" asked {h}.|"Because {reason}," said {f}.')
    s.tell(
        "{h} thought for a moment and went to the back of the room.",
        '"wait here," said {h}.',
        "{h} opened an old chest.",
    )
    s.tell(
        "{h.s} came back with {o.a} and gave it to {f}.",
        'after a while {h.s} held out {o.a}.|"Take it," {h.he} said.',
    )
    s.keep(o, f)
    s.tell(
        '"one day I will pay it back," said {f}.',
        "{f} had tears in {f.his} eyes.",
        "{f} thanked {h.o} a hundred times.",
    )
    s.tell(
        "a year later, {f} came back with a full purse and {b}.",
        "many months later, when {h} was in need, {f} came and helped.",
        "the next morning, {h} found {b} in front of the door.",
        b=with_article(
            s.choose(
                (
                    "basket of eggs",
                    "bunch of roses",
                    "jar of plum jam",
                    "sack of flour",
                    "bottle of apple juice",
                )
            )
        ),
    )
    s.fact("what did {f} need?", "{f} needed {o.a}.")
    s.moral = s.choose(("good deeds come back", "trust makes friends"))
