"""Stories of rescue, quarrels, fear, sharing, sickness and new friends."""

from __future__ import annotations

from .beats import friend, night, relative, travel_time
from .world import Being, Story


def rescue(s: Story) -> None:
    """The hero frees a trapped animal, which later returns the favour."""
    hero: Being = s.cast["h"]
    s.cast["p"] = p = s.place("wild")
    s.cast["f"] = s.animal(hero)
    s.paragraph()
    s.go(hero, p)
    s.tell(
        "suddenly {h.s} heard a small voice.",
        '"help! Help!" called a voice.',
        "{h.s} heard someone crying behind the bushes.",
    )
    trap, freed = s.choose(
        (
            ("caught in a thorn bush", "{h.s} bent the branches back, one after another"),
            (
                "stuck in a deep hole",
                "{h.s} let down a long branch and pulled with all {h.his} might",
            ),
            ("tangled in an old net", "{h.s} untied the knots, one after another"),
            ("stuck between two stones", "{h.s} pushed the heavy stone aside"),
            (
                "caught under a fallen tree",
                "{h.s} dug in the soft ground until there was a way out",
            ),
            ("up to the neck in the mud", "{h.s} laid a board across the mud and pulled"),
        )
    )
    s.cast["trap"] = trap
    s.tell(
        "it was {f.plain}, {trap}.",
        "there was {f.plain}, {trap}.",
        "{h.s} looked closer and saw {f.plain}, {trap}.",
    )
    s.tell(
        '"do not be afraid," said {h}. "I will help you."',
        '"hold still," said {h}, "and you will soon be free."',
        "{h} was a little afraid, but {h.he} did not run away.",
    )
    s.tell(
        freed + ".|At last {f} was free.",
        freed + ", until {f} was free.",
        "it took a long time.|" + freed + ", and then {f} was free.",
    )
    s.tell(
        '"thank you," said {f}. "I will never forget this."',
        '"you have saved my life," said {f}. "One day I will help you, too."',
        "{f} bowed deeply and said that one day {f.s} would return the favor.",
    )
    s.paragraph()
    s.cast["q"] = q = s.place("wild")
    s.tell(
        "some weeks later, {h} got lost {q.at}.|It grew dark, and every path looked the same.",
        "in the autumn, a storm caught {h} {q.at}.|{h.s} could not see the way home.",
        "not long after, {h} fell and hurt {h.his} leg {q.at}.|Nobody was near.",
        q=q,
    )
    s.tell(
        'then a voice said, "Follow me!"|It was {f}.',
        'suddenly {f} stood there. "Now it is my turn," {f.he} said.',
        "but {f} had heard {h.own} call and came as fast as {f.he} could.",
    )
    s.tell(
        "{f} led {h.o} safely home.",
        "together they found the way back, and soon they saw the lights of the houses.",
        "{f} stayed with {h.o} all night and brought {h.o} home in the morning.",
    )
    s.fact("who was {trap}?", "{f} was {trap}.")
    s.fact("where did {h} find {f}?", "{h} found {f} {p.at}.")
    s.fact("who led {h} home?", "{f} led {h} home.")
    s.moral = s.choose(
        (
            "kindness comes back",
            "even the smallest friend can be a great help",
            "nobody is too small to help",
        )
    )


def quarrel(s: Story) -> None:
    """Two friends both want one thing, part in anger and make up."""
    friend(s)
    s.cast["o"] = s.thing("toy", "music", "nature", "treasure")
    s.cast["p"] = s.place()
    s.paragraph()
    s.tell(
        "one day, they found {o.a} {p.at}.|Both of them wanted it.",
        "one day, {h} and {f} saw {o.a} {p.at}, and both reached for it.",
        "{p.at}, the two friends discovered {o.a}.",
    )
    s.tell(
        '"I saw it first!" said {h}.|"No, I did!" said {f}.',
        '"it is mine!" shouted {f}.|"It is not!" shouted {h}.',
        "{h} pulled on one side, and {f} pulled on the other.",
    )
    s.tell(
        "they argued so loudly that the birds flew away.",
        "they said things that friends should not say.",
        "in the end, {f} turned around and went home without a word.",
        "{h} took {o.the} and ran away with it.",
    )
    s.tell(
        "for three days they did not speak to each other.",
        "the next day, {h} played alone.|It was no fun at all.",
        "{h} sat at home with {o.the}, but it did not make {h.o} happy.",
    )
    s.tell(
        '"what is {o.a} worth without a friend?" thought {h}.',
        '"I was wrong," thought {h}. "I miss {f}."',
        "{h} thought of all the good days with {f} and felt ashamed.",
    )
    s.tell(
        'so {h.s} went to {f} and said, "I am sorry."',
        '{h} knocked on the door. "I am sorry," {h.he} said. "Please take {o.the}."',
        "{h} wanted to say sorry, and on the way {h.he} met {f}, who wanted the same.",
    )
    s.tell(
        '"I am sorry, too," said {f}. "Let us share it."',
        '"it belongs to both of us," said {f}.',
        "{f} smiled, and all the anger was gone.",
    )
    s.tell(
        "after that, {h} had {o.the} on one day and {f} on the next.",
        "they took turns, and that was twice as much fun.",
        "they put {o.the} in a place where both could reach it.",
    )
    s.fact("what did they argue about?", "they argued about {o}.")
    s.fact("who said sorry first?", "{h} said sorry first.")
    s.moral = s.choose(
        (
            "sharing doubles the joy",
            "a friend is worth more than any treasure",
            "it is never too late to say sorry",
        )
    )


FEARS = (
    (
        "the dark",
        "every night",
        "the cellar was black as coal",
        "light a candle and look at every shadow",
        "the shadows were only coats and chairs",
    ),
    (
        "deep water",
        "whenever there was a lake nearby",
        "the water looked black and endless",
        "float on the back near the shore",
        "the water carried {h.him} like a soft bed",
    ),
    (
        "thunder",
        "in every storm",
        "a loud crash shook the house",
        "count the seconds after the lightning",
        "the thunder moved farther and farther away",
    ),
    (
        "heights",
        "on every ladder",
        "the tower was taller than all the trees",
        "look up and take one step at a time",
        "the whole land lay below like a map",
    ),
    (
        "big dogs",
        "on the way to the market",
        "a huge dog stood in the middle of the road",
        "stand still and speak softly",
        "the dog wagged its tail and licked {h.p} hand",
    ),
    (
        "speaking in front of others",
        "at every feast",
        "a hundred eyes were looking",
        "speak to one kind face only",
        "everybody clapped and cheered",
    ),
)


def fear(s: Story) -> None:
    """A fear is met in small steps with the help of a wise elder."""
    hero: Being = s.cast["h"]
    relative(s)
    options = FEARS if hero.kind != "animal" else FEARS[:4]
    what, when, scene, advice, proof = s.choose(options)
    s.cast.update(what=what, when=when, scene=scene, advice=advice)
    s.tell(
        "but {h} was afraid of {what}.",
        "there was only one problem.|{h} was afraid of {what}.",
        "nobody knew that {h} was afraid of {what}.",
    )
    s.tell(
        "{when}, {h.p} knees began to shake.",
        "{when}, {h.s} wanted to run away.",
        "{when}, {h.s} felt cold and small.",
    )
    s.paragraph()
    s.tell(
        "one day, {scene}.|{h} could not move.",
        "then, one evening, {scene}.",
        "one day it happened.|{scene}.",
    )
    s.tell(
        '{e} sat down beside {h.o}. "I was afraid once, too," {e.he} said.',
        '"everyone is afraid of something," said {e}.',
        '"being brave does not mean having no fear," said {e}.',
    )
    s.tell(
        '"you only have to {advice}."',
        '"try this," {e.he} said. "You only have to {advice}."',
        '"I will tell you a secret. You must {advice}."',
    )
    s.tell(
        "{h} took a deep breath and tried it.",
        "{h.p} heart beat fast, but {h.he} tried.",
        "the first time it did not work.|The second time it was a little better.",
    )
    s.tell(
        "and see, " + proof + ".",
        "then something wonderful happened.|" + proof + ".",
        proof + ".|{h} began to laugh.",
    )
    s.tell(
        '"I did it!" cried {h}.',
        '"it is not so bad at all," said {h}.',
        '"you see," said {e}, "you were stronger than your fear."',
    )
    s.fact("what was {h} afraid of?", "{h} was afraid of {what}.")
    s.fact("who helped {h}?", "{e} helped {h}.")
    s.moral = s.choose(
        (
            "courage grows with every step",
            "fear gets smaller when one looks at it",
            "being brave means trying anyway",
        )
    )


def hungry_traveler(s: Story) -> None:
    """The hero shares the last food with a stranger, whose gift turns out to be precious."""
    hero: Being = s.cast["h"]
    s.cast["b"] = food = s.food()
    s.cast["p"] = p = s.place()
    gender = s.pick_gender(hero)
    who = (
        s.choose(("old woman", "tired traveler", "beggar"))
        if gender == "f"
        else s.choose(("old man", "tired traveler", "beggar"))
    )
    s.cast["e"] = Being(f"the {who}", who, gender, "adult", "poor", s, named=False)
    s.paragraph()
    s.tell(
        "that year the harvest was bad, and {h} had only {b} left.",
        "one day, {h} had nothing to eat but {b}.",
        "{h} packed {b} and set out.",
    )
    s.go(hero, p)
    s.tell(
        "by the side of the road sat {e.plain}.",
        "there sat {e.plain} who was very hungry.",
        "{e.plain} came slowly along the path.",
    )
    s.tell(
        '"I have not eaten for two days," said {e}.',
        '"could you spare something to eat?" asked {e}.',
        '"I have come a long way," said {e}, "and I am so hungry."',
    )
    s.tell(
        "{h} looked at {b.the}.|It was not much, but {h.he} shared it.",
        '"take half of it," said {h} at once.',
        "{h} was hungry, too, but {h.he} gave {e.o} the bigger half.",
        food=food,
    )
    gift, wonder = s.choose(
        (
            ("a small seed", "by morning it had grown into a tree full of golden pears"),
            ("an old pot", "whenever it was empty, it filled itself with warm soup"),
            ("a wooden spoon", "everything it stirred tasted like a feast"),
            ("a little bell", "when it rang, all the lost sheep came home"),
            ("a gray stone", "in the dark it shone like the moon"),
            ("a plain cloth", "spread on the table, it was covered with bread and fruit"),
            ("a thin key", "it opened an old chest full of silver coins"),
        )
    )
    s.cast.update(gift=gift, wonder=wonder)
    s.tell(
        '{e} ate and smiled. "You have a good heart," {e.he} said and gave {h.o} {gift}.',
        "before leaving, {e} put {gift} into {h.p} bag.",
        '"I have only {gift}," said {e}, "but it shall be yours."',
    )
    s.tell(
        "{h} thanked {e.o} and thought nothing of it.",
        "when {h} looked up again, the road was empty.",
        "then {e} was gone, as if the wind had carried {e.o} away.",
    )
    s.paragraph()
    s.tell(
        "at home {h} put it on the table.|{wonder}!",
        "that evening {h} understood.|{wonder}.",
        "the next day, {h} could hardly believe it, for {wonder}.",
    )
    s.tell(
        "from then on, nobody in the village was ever hungry again.",
        "{h} shared everything with the neighbors.",
        "there was enough for everyone, and {h} invited the whole village.",
    )
    s.fact("what did {h} share?", "{h} shared {b.the}.")
    s.fact("what did {h} get?", "{h} got {gift}.")
    s.moral = s.choose(
        (
            "those who share are never poor",
            "a small gift can be a great one",
            "kindness is never lost",
        )
    )


def sick_friend(s: Story) -> None:
    """The hero walks far to bring a sick friend the one thing that helps."""
    hero: Being = s.cast["h"]
    friend(s)
    s.cast["p"], s.cast["q"] = s.place("wild"), s.place()
    cure = s.choose(
        (
            "silver mint",
            "mountain honey",
            "water from the clear spring",
            "the root of the blue flower",
            "fresh lemon balm",
            "wild ginger",
        )
    )
    s.cast["cure"] = cure
    s.paragraph()
    s.tell(
        "one day, {f} did not come out to play.|{f.s} lay in bed with a fever.",
        "in {season}, {f} fell ill and could not get up.",
        "one morning, {h} heard that {f} was very sick.",
    )
    s.cast["e"] = s.adult(hero) if hero.kind != "animal" else s.animal(hero, named=False)
    s.tell(
        '"only {cure} can help," said {e.plain}.',
        '{e.plain} shook {e.his} head. "You need {cure}," {e.he} said.',
        '"I know what to do," said {e.plain}. "Find {cure}."',
    )
    s.tell(
        '"where can I find it?" asked {h}.|"It is {p.at}," said {e}.',
        '"you will find it {p.at}," {e.he} said, "but the way is long."',
    )
    s.tell(
        '"then I will go," said {h}.',
        "{h} did not wait and set out at once.",
        "{h} put on {h.his} coat and left." if hero.kind != "animal" else "{h} left at once.",
    )
    travel_time(s)
    s.go(hero, s.cast["p"])
    s.tell(
        "{h} searched until it was almost dark, and then {h.he} found {cure}.",
        "it was hard to find, but at last {h} held it tight.",
        "high up between two rocks, {h} found what {h.he} was looking for.",
    )
    s.tell(
        "then {h.s} ran back without a rest.",
        "all night long {h.s} hurried home.",
        "{h.s} carried it home as carefully as an egg.",
    )
    s.tell(
        "{f} drank it with warm tea and fell asleep.",
        "{e} made a hot drink from it, and {f} drank it all.",
        "they gave it to {f}, drop by drop.",
    )
    s.tell(
        'the next morning, {f} sat up and said, "I am hungry!"',
        "after two days, {f} could laugh again.",
        "soon the fever was gone, and {f} got out of bed.",
    )
    s.fact("who was sick?", "{f} was sick.")
    s.fact("what did {f} need?", "{f} needed {cure}.")
    s.fact("where did {h} find it?", "{h} found it {p.at}.")
    s.moral = s.choose(("no way is too long for a friend", "true friends help in hard times"))


def new_neighbor(s: Story) -> None:
    """A shy newcomer is met with suspicion until the hero knocks at the door."""
    hero: Being = s.cast["h"]
    f = s.peer(hero)
    s.cast["f"] = f
    s.cast["b"] = s.food()
    s.paragraph()
    s.tell(
        "one day, {f.plain} moved in next door.",
        "that {season}, someone new came.|It was {f.plain}.",
        "one morning, a cart full of boxes stopped, and {f.plain} got out.",
    )
    s.tell(
        "{f} never spoke to anyone.",
        "{f} always looked at the ground and said nothing.",
        '"the new one is so strange," whispered the others.',
        "the others did not ask {f.o} to play.",
    )
    s.tell(
        '"maybe {f.he} is only shy," thought {h}.',
        "{h} remembered how it felt to be alone.",
        '"somebody has to say hello first," thought {h}.',
    )
    s.tell(
        "so {h} took {b} and knocked on the door.",
        "the next day, {h} went over with {b}.",
        "{h} put {b} in front of the door, and the day after {h.he} knocked.",
    )
    s.tell(
        '"hello, I am {h.name}," {h.he} said.' if hero.named else '"hello," said {h}.',
        '"I live next door," said {h}. "This is for you."',
    )
    s.cast["like2"] = s.choose(
        (
            "paint",
            "play chess",
            "juggle",
            "tell riddles",
            "sing",
            "carve wood",
            "bake pies",
            "name all the stars",
            "walk on stilts",
        )
    )
    s.tell(
        "{f} opened the door a little, and then a little more.",
        '{f} turned red. "Nobody has come before," {f.he} said.',
        "at first {f} did not know what to say, but then {f.he} smiled.",
    )
    s.tell(
        "{h} found out that {f} could {like2} better than anyone.",
        '"would you like to see something?" asked {f}.|{f.s} could {like2}, and it was wonderful.',
        "they ate together, and {f} showed {h.o} how to {like2}.",
    )
    s.tell(
        "soon all the others came to watch, and nobody whispered anymore.",
        "the next day, {h} and {f} went out together, and everyone said hello.",
        '"why did we not ask {f.him} before?" said the others.',
    )
    s.fact("who was new?", "{f} was new.")
    s.fact("what did {h} bring?", "{h} brought {b}.")
    s.fact("what could {f} do well?", "{f} could {like2} very well.")
    s.moral = s.choose(
        (
            "a friendly word opens every door",
            "strangers are friends not yet met",
            "one should not judge too fast",
        )
    )


def lost_child(s: Story) -> None:
    """The hero finds a lost little one and brings it home from clue to clue."""
    hero: Being = s.cast["h"]
    s.cast["p"], s.cast["q"] = p, q = s.place(), s.place()
    s.cast["f"] = little = s.animal(hero, small=True)
    little.trait = "little"
    s.paragraph()
    s.go(hero, p)
    s.tell(
        "there sat {f.intro}, crying.",
        "{f.intro} was sitting there all alone.",
        "under a bush {h.s} found {f.intro}.",
    )
    s.tell(
        '"what is the matter?" asked {h}.|"I cannot find my mother," said {f}.',
        '"I am lost," said {f}. "I want to go home."',
    )
    clue = s.fresh(q.spot.sights)
    s.cast["clue"] = clue
    s.tell(
        '"tell me what your home looks like," said {h}.|"At home, {clue}," said {f}.',
        '"do you remember anything?" asked {h}.|{f} thought hard. "Yes," {f.he} said. "{Clue}."',
        Clue=clue[0].upper() + clue[1:],
    )
    s.tell(
        '"then I know the place," said {h}. "It must be {q.at}."',
        "{h} thought for a moment and knew that it was {q.at}.",
    )
    s.tell(
        "{h} took {f.o} along, and they set out together.",
        "{f} climbed on {h.p} back, and off they went.",
        "they walked side by side and sang to keep up their spirits.",
    )
    travel_time(s)
    s.where[hero] = q
    s.tell(
        'when they came {q.to}, {f} jumped up. "That is my home!"',
        "at last they came {q.to}.|{f} began to run.",
        "they came {q.to} just before dark.",
    )
    s.tell(
        "{f.p} mother ran to meet them and hugged {f.o} tightly.",
        "there was {f.p} mother, and she laughed and cried at the same time.",
        '"my little one!" cried {f.p} mother. "I looked for you all day."',
    )
    s.tell(
        '"how can I thank you?" she asked.|"It was nothing," said {h}.',
        "she gave {h} {b} for the way home.",
        "she invited {h} to stay for supper.",
        b=s.food(),
    )
    s.fact("who was lost?", "{f} was lost.")
    s.fact("where did {f} live?", "{f} lived {q.at}.")
    s.moral = "there is no place like home"


def nightmare(s: Story) -> None:
    """A sleepless night is cured by a lullaby, a story or company."""
    relative(s)
    s.at_home = True
    s.paragraph()
    night(s)
    s.tell(
        "but {h} could not sleep.",
        "{h} lay in bed with open eyes.",
        "{h} turned from one side to the other and could not sleep.",
    )
    s.cast["noise"], s.cast["cause"] = s.choose(
        (
            ("something scratched at the window", "the branch of the old pear tree"),
            ("something knocked on the roof", "a loose tile in the wind"),
            ("something rustled in the corner", "a mouse with a piece of paper"),
            ("something howled outside", "the wind in the chimney"),
            ("something creaked on the stairs", "the old wood that was getting cold"),
            ("something glowed behind the curtain", "the moon"),
        )
    )
    s.tell("{noise}.", "then {noise}.", "all of a sudden, {noise}.")
    s.tell(
        '"who is there?" whispered {h}.',
        "{h} pulled the blanket over {h.his} head.",
        "{h} held {h.his} breath.",
    )
    s.tell(
        "{e} came in with a candle.",
        '"what is it?" asked {e}.',
        "{h} called for {e}, who came at once.",
    )
    s.tell('"let us have a look together," said {e}.', '"come, we will see," said {e} softly.')
    s.tell(
        "it was only {cause}.",
        "they looked, and it was only {cause}.",
        "they found out that it was {cause}.|{h} had to laugh.",
    )
    s.tell(
        "then {e} told a story about a ship that sailed to the moon.",
        "{e} sang a quiet song, and {h} closed {h.his} eyes.",
        "{e} sat by the bed until {h} was asleep.",
        "{e} brought a cup of warm milk, and soon {h} was asleep.",
    )
    s.fact("what was the noise?", "it was {cause}.")
    s.fact("who came to help?", "{e} came to help.")
    s.moral = "most monsters are small when one looks at them"
