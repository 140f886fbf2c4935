"""What words do the demo stories use?  Names, animals, trades, places, things, weather."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Animal:
    """A speaking animal: how it moves (past tense) and where it lives."""

    noun: str
    moved: str
    home: str
    small: bool


@dataclass(frozen=True)
class Trade:
    """A profession, its workplace (with preposition) and what its days are filled with."""

    noun: str
    workplace: str
    works: str  # after "loved to"
    worked: str  # past tense of the same phrase
    gender: str = ""  # "f" or "m" where the word tells


@dataclass(frozen=True)
class Spot:
    """A place: "at" + "the old mill", and clauses that say what was seen there."""

    prep: str
    noun: str
    region: str  # "wild", "town" or "water"
    sights: tuple[str, ...]


GIRLS = (
    "Mara Lina Rosa Elsa Nora Tilda Ivy Clara Hanna Marta Freya Anya Greta Olive Luna Mina Sofia "
    "Wanda Petra Ruth Stella Dora Edith Fern Hazel Iris Juno Kira Lucy Maya Nell Opal Poppy Rhea "
    "Sara Tessa Una Vera Willa Yara Zoe Amber Bella Cora Daisy Emma Flora Gwen Holly Ida Jana Lily "
    "Molly Nina Pearl Ruby Sally Thea Viola Alma"
).split()
BOYS = (
    "Tom Ben Oskar Leo Finn Hugo Milo Jonas Felix Otto Emil Anton Bruno Carl Dario Edgar Fred Gus "
    "Henry Ivan Jack Karl Liam Max Noah Oliver Paul Quinn Robin Sam Theo Ulf Victor Walter Yann "
    "Adam Boris Colin David Elias Frank George Harry Isak Jasper Kofi Luka Marco Nils Oscar Peter "
    "Ralph Simon Tim Uri Viktor Will Zeno Arlo Basil"
).split()
PET_NAMES_F = (
    "Clover Maple Pebble Bramble Honey Ginger Willow Dusty Berry Tansy Velvet Cinder Minty Plum"
).split()
PET_NAMES_M = (
    "Rusty Bristle Thistle Acorn Bumble Copper Flint Moss Pip Rowan Tuft Whisker Barley Nutmeg"
).split()
SYLLABLES_START = "Ar Bel Cal Dor El Far Gal Hal Il Jor Kal Lor Mir Nal Or Pel Ral Sel Tal Vel Zan"
SYLLABLES_MID = "a i o e an or in al ir ev am on"
SYLLABLES_END_F = "na la ra sa mi ya ve lia dra nel"
SYLLABLES_END_M = "n k r s do ric mar ton vin bo"

ANIMALS = (
    Animal("fox", "trotted", "den under the oak", False),
    Animal("rabbit", "hopped", "burrow under the hedge", True),
    Animal("owl", "flew", "hollow tree", True),
    Animal("bear", "lumbered", "cave on the hillside", False),
    Animal("mouse", "scurried", "nest under the barn", True),
    Animal("hedgehog", "shuffled", "pile of leaves", True),
    Animal("badger", "padded", "den below the roots", False),
    Animal("squirrel", "scampered", "nest in the beech tree", True),
    Animal("otter", "slipped", "den by the river", True),
    Animal("crow", "flew", "nest in the tall pine", True),
    Animal("goat", "trotted", "shed behind the farm", False),
    Animal("donkey", "plodded", "stable by the road", False),
    Animal("duck", "waddled", "nest in the reeds", True),
    Animal("goose", "waddled", "pen by the pond", True),
    Animal("frog", "hopped", "muddy hole by the pond", True),
    Animal("turtle", "crawled", "quiet corner of the pond", True),
    Animal("wolf", "padded", "den between the rocks", False),
    Animal("deer", "walked", "clearing in the wood", False),
    Animal("cat", "padded", "basket by the stove", True),
    Animal("dog", "ran", "kennel in the yard", False),
    Animal("pony", "trotted", "stable on the hill", False),
    Animal("sheep", "wandered", "fold on the green hill", False),
    Animal("hen", "hurried", "coop behind the house", True),
    Animal("beaver", "waddled", "lodge in the stream", False),
    Animal("sparrow", "fluttered", "nest under the roof", True),
    Animal("swan", "glided", "island in the lake", False),
    Animal("mole", "shuffled", "tunnel under the meadow", True),
    Animal("lizard", "darted", "crack in the warm wall", True),
    Animal("weasel", "slipped", "gap in the stone wall", True),
    Animal("robin", "fluttered", "nest in the ivy", True),
    Animal("lion", "padded", "den in the tall grass", False),
    Animal("elephant", "lumbered", "place by the water hole", False),
    Animal("monkey", "scampered", "nest in the fig tree", True),
    Animal("horse", "trotted", "stable by the gate", False),
    Animal("pig", "trotted", "pen behind the barn", False),
    Animal("cow", "wandered", "shed by the meadow", False),
    Animal("parrot", "flew", "perch in the palm tree", True),
    Animal("penguin", "waddled", "nest on the ice", True),
    Animal("kitten", "scampered", "basket by the stove", True),
    Animal("puppy", "ran", "kennel in the yard", True),
    Animal("snail", "crawled", "spot under the cabbage", True),
    Animal("raccoon", "padded", "hole in the chestnut tree", True),
    Animal("tiger", "padded", "den in the bamboo", False),
    Animal("dragon", "flew", "cave in the mountain", False),
    Animal("unicorn", "trotted", "glade in the wood", False),
)

TRADES = (
    Trade("baker", "in the bakery", "bake warm bread", "baked warm bread"),
    Trade("farmer", "on the farm", "work in the fields", "worked in the fields"),
    Trade("gardener", "in the garden", "grow roses", "grew roses"),
    Trade("fisher", "at the harbor", "sail out before dawn", "sailed out before dawn"),
    Trade("carpenter", "in the workshop", "build chairs", "built chairs"),
    Trade("tailor", "in the tailor shop", "sew fine coats", "sewed fine coats"),
    Trade("miller", "at the mill", "grind the wheat", "ground the wheat"),
    Trade("blacksmith", "at the forge", "shape hot iron", "shaped hot iron"),
    Trade("teacher", "at the school", "tell stories to the class", "told stories to the class"),
    Trade("doctor", "in the small clinic", "help sick people", "helped sick people"),
    Trade("painter", "in a bright attic", "paint the sea", "painted the sea"),
    Trade("clockmaker", "in the clock shop", "mend old clocks", "mended old clocks"),
    Trade("shepherd", "on the green hill", "watch over the sheep", "watched over the sheep"),
    Trade("potter", "in the pottery", "make clay bowls", "made clay bowls"),
    Trade("cook", "in the kitchen of the inn", "cook thick soups", "cooked thick soups"),
    Trade("musician", "in the town square", "play the violin", "played the violin"),
    Trade("librarian", "in the library", "read old books", "read old books"),
    Trade("sailor", "on a small ship", "follow the stars", "followed the stars"),
    Trade("weaver", "in the weaving house", "weave blankets", "wove blankets"),
    Trade("beekeeper", "behind the orchard", "take care of the bees", "took care of the bees"),
    Trade("shoemaker", "in the shoe shop", "make strong boots", "made strong boots"),
    Trade("postman", "at the post office", "carry letters", "carried letters", "m"),
    Trade("king", "in the castle", "rule the land", "ruled the land", "m"),
    Trade("queen", "in the palace", "rule the land", "ruled the land", "f"),
    Trade("prince", "in the castle", "ride through the forest", "rode through the forest", "m"),
    Trade("princess", "in the palace", "walk in the rose garden", "walked in the rose garden", "f"),
    Trade("knight", "at the castle gate", "guard the bridge", "guarded the bridge"),
    Trade("wizard", "in a round tower", "study old spells", "studied old spells", "m"),
    Trade("witch", "in a hut in the woods", "mix herbs", "mixed herbs", "f"),
    Trade("nurse", "in the hospital", "care for sick children", "cared for sick children"),
    Trade("scientist", "in a bright room full of glass", "study insects", "studied insects"),
    Trade("engineer", "at the train station", "repair engines", "repaired engines"),
    Trade("woodcutter", "at the edge of the forest", "chop wood", "chopped wood"),
    Trade("inventor", "in a messy workshop", "draw new machines", "drew new machines"),
    Trade("innkeeper", "at the inn", "welcome guests", "welcomed guests"),
    Trade("lighthouse keeper", "in the lighthouse", "light the lamp", "lit the lamp"),
)

HOBBIES = (  # (after "loved to", past tense)
    ("climb trees", "climbed trees"),
    ("sing loud songs", "sang loud songs"),
    ("draw pictures of birds", "drew pictures of birds"),
    ("collect smooth stones", "collected smooth stones"),
    ("read books by the window", "read books by the window"),
    ("swim in the lake", "swam in the lake"),
    ("build little boats", "built little boats"),
    ("run across the fields", "ran across the fields"),
    ("tell funny stories", "told funny stories"),
    ("watch the clouds", "watched the clouds"),
    ("count the stars", "counted the stars"),
    ("play in the garden", "played in the garden"),
    ("dance in the rain", "danced in the rain"),
    ("ask questions", "asked questions"),
    ("look for berries", "looked for berries"),
    ("listen to the wind", "listened to the wind"),
    ("catch falling leaves", "caught falling leaves"),
    ("ride down the hill", "rode down the hill"),
    ("make paper birds", "made paper birds"),
    ("whistle in the morning", "whistled in the morning"),
    ("feed the ducks", "fed the ducks"),
    ("dig in the sand", "dug in the sand"),
    ("learn new words", "learned new words"),
    ("sleep in the sun", "slept in the sun"),
    ("hide in the tall grass", "hid in the tall grass"),
    ("bring flowers to the neighbors", "brought flowers to the neighbors"),
)

GOOD_TRAITS = (
    "kind brave clever curious gentle patient cheerful honest careful quiet lively friendly "
    "thoughtful helpful generous bold calm hopeful playful polite"
).split()
NATURE = {  # the likeliest trait of an animal or trade; all others are possible
    word: trait
    for trait, group in {
        "clever": "fox crow raccoon weasel scientist wizard",
        "curious": "cat kitten squirrel mole prince librarian",
        "brave": "lion wolf knight sailor tiger",
        "kind": "doctor nurse cow swan",
        "gentle": "deer elephant unicorn shepherd",
        "patient": "donkey turtle snail clockmaker fisher",
        "cheerful": "robin sparrow frog musician",
        "honest": "dog miller horse postman",
        "careful": "mouse hen beekeeper tailor",
        "quiet": "owl weaver lizard",
        "lively": "monkey puppy goat cook",
        "friendly": "bear pig baker innkeeper",
        "thoughtful": "badger painter queen potter",
        "helpful": "beaver pony blacksmith carpenter",
        "generous": "king farmer sheep princess",
        "bold": "goose dragon engineer woodcutter",
        "calm": "duck shoemaker",
        "hopeful": "inventor gardener hedgehog",
        "playful": "otter rabbit parrot",
        "polite": "penguin teacher witch",
    }.items()
    for word in group.split()
}
TRAIT_SHOWN = {  # what everyone could see
    "kind": ("{h.s} had a good word for everyone.", "nobody left {h.p} door with empty hands."),
    "brave": ("{h.s} was not afraid of the dark.", "{h.s} once climbed the tallest tree alone."),
    "clever": ("{h.s} could solve every riddle.", "{h.s} always had an answer."),
    "curious": ("{h.s} wanted to know everything.", "{h.s} looked into every box and every hole."),
    "gentle": ("even wild birds sat on {h.p} shoulder.", "{h.s} never spoke a loud word."),
    "patient": ("{h.s} could wait for hours without a word.", "{h.s} never lost {h.his} temper."),
    "cheerful": ("{h.s} laughed from morning to evening.", "{h.s} sang even in the rain."),
    "honest": ("{h.s} always told the truth.", "{h.s} never took what was not {h.hers}."),
    "careful": ("{h.s} looked twice before every step.", "{h.s} put everything back in its place."),
    "quiet": ("{h.s} did not talk much, but {h.he} thought a lot.", "{h.s} liked to listen."),
    "lively": ("{h.s} could not sit still for a minute.", "{h.s} ran wherever others walked."),
    "friendly": ("{h.s} said hello to everyone.", "{h.s} knew everybody by name."),
    "thoughtful": ("{h.s} never forgot a birthday.", "{h.s} thought before {h.he} spoke."),
    "helpful": ("whoever needed help came to {h.o}.", "{h.s} carried the bags of the old people."),
    "generous": ("{h.s} gave away more than {h.he} kept.", "{h.s} shared every apple."),
    "bold": ("{h.s} tried everything at least once.", "{h.s} always went first."),
    "calm": ("{h.s} was never in a hurry.", "even in a storm {h.s} stayed calm."),
    "hopeful": (
        "{h.s} believed that every day could bring something good.",
        "after every rain {h.s} looked for a rainbow.",
    ),
    "playful": ("{h.s} turned every chore into a game.", "{h.s} knew a hundred games."),
    "polite": ("{h.s} always said please and thank you.", "{h.s} bowed to everyone."),
}
BUSY = (  # after "was"
    "sitting by the fire|looking for berries|sweeping the floor|sleeping under a tree|"
    "counting the clouds|singing a quiet song|walking along the road|looking out of the window|"
    "eating breakfast|carrying a heavy bag|standing at the gate|drawing in the sand|"
    "waiting for the sun|picking flowers|thinking about the winter|on the way home"
).split("|")
AGES = "little old young small tired lonely happy".split()
HAIR = "curly hair|brown eyes|long red hair|a loud laugh|green eyes|big hands|a soft voice|freckles"
FUR = "a white spot on the nose|bright eyes|a soft voice|a crooked smile|very quick feet"

PLACES = (
    Spot(
        "at",
        "old mill",
        "town",
        (
            "the big wheel turned slowly in the water",
            "white flour lay on every step",
            "swallows flew in and out of the window",
        ),
    ),
    Spot(
        "in",
        "forest",
        "wild",
        (
            "tall trees stood close together",
            "sunlight fell through the leaves",
            "the ground was soft with moss",
        ),
    ),
    Spot(
        "by",
        "river",
        "water",
        (
            "the water was clear and cold",
            "small fish swam between the stones",
            "a blue dragonfly sat on a reed",
        ),
    ),
    Spot(
        "at",
        "market",
        "town",
        (
            "people were selling apples and cheese",
            "colorful cloths hung above the stalls",
            "someone was playing a drum",
        ),
    ),
    Spot(
        "on",
        "hill",
        "wild",
        (
            "the wind blew through the grass",
            "one could see the whole valley",
            "a few sheep were eating grass",
        ),
    ),
    Spot(
        "in",
        "meadow",
        "wild",
        (
            "yellow flowers grew everywhere",
            "bees hummed over the clover",
            "butterflies danced in the air",
        ),
    ),
    Spot(
        "at",
        "harbor",
        "water",
        (
            "small boats rocked on the waves",
            "gulls cried above the masts",
            "the air smelled of salt and fish",
        ),
    ),
    Spot(
        "by",
        "lake",
        "water",
        (
            "the water was as still as glass",
            "a swan drifted past the reeds",
            "the mountains were mirrored in the water",
        ),
    ),
    Spot(
        "in",
        "library",
        "town",
        (
            "the shelves reached up to the ceiling",
            "it smelled of old paper",
            "only the clock made a sound",
        ),
    ),
    Spot(
        "in",
        "orchard",
        "wild",
        (
            "the branches were heavy with apples",
            "ripe plums lay in the grass",
            "a ladder leaned against a tree",
        ),
    ),
    Spot(
        "at",
        "school",
        "town",
        (
            "chalk drawings covered the wall",
            "a bell hung over the door",
            "rows of coats hung in the hall",
        ),
    ),
    Spot(
        "in",
        "cave",
        "wild",
        (
            "water dripped from the ceiling",
            "it was dark and cool",
            "every word came back as an echo",
        ),
    ),
    Spot(
        "by",
        "well",
        "town",
        (
            "a bucket hung on a long rope",
            "the stones were green and wet",
            "two neighbors were talking quietly",
        ),
    ),
    Spot(
        "in",
        "barn",
        "town",
        ("the hay smelled sweet", "dust danced in the light", "a cow looked up and blinked"),
    ),
    Spot(
        "at",
        "train station",
        "town",
        (
            "a long train was waiting",
            "steam rose into the air",
            "travelers hurried past with heavy bags",
        ),
    ),
    Spot(
        "on",
        "beach",
        "water",
        (
            "the waves rolled over the sand",
            "shells lay in a long line",
            "a crab ran sideways into its hole",
        ),
    ),
    Spot(
        "in",
        "garden",
        "town",
        ("roses climbed over the wall", "beans grew in straight rows", "a robin sang on the fence"),
    ),
    Spot(
        "at",
        "bakery",
        "town",
        (
            "the smell of fresh bread filled the air",
            "golden rolls lay in the window",
            "the oven glowed in the corner",
        ),
    ),
    Spot(
        "by",
        "bridge",
        "water",
        (
            "the river rushed between the stones",
            "an old lamp stood at each end",
            "ducks swam below in a row",
        ),
    ),
    Spot(
        "in",
        "town square",
        "town",
        (
            "a fountain splashed in the middle",
            "pigeons walked between the benches",
            "the clock tower struck the hour",
        ),
    ),
    Spot(
        "in",
        "valley",
        "wild",
        (
            "a thin mist lay over the fields",
            "a stream ran between the rocks",
            "wild horses stood in the shade",
        ),
    ),
    Spot(
        "at",
        "lighthouse",
        "water",
        (
            "the stairs went round and round",
            "the great lamp looked out over the sea",
            "the waves beat against the rocks",
        ),
    ),
    Spot(
        "in",
        "castle ruins",
        "wild",
        (
            "ivy covered the broken walls",
            "an old stone lion guarded the gate",
            "grass grew between the stones",
        ),
    ),
    Spot(
        "at",
        "inn",
        "town",
        (
            "a fire crackled in the hearth",
            "guests were eating soup",
            "a painted sign swung above the door",
        ),
    ),
    Spot(
        "by",
        "waterfall",
        "water",
        (
            "the water thundered down the rocks",
            "a small rainbow hung in the spray",
            "ferns grew on the wet stones",
        ),
    ),
    Spot(
        "in",
        "pine wood",
        "wild",
        (
            "the needles were soft under every step",
            "it was so quiet that one could hear a cone fall",
            "the air smelled of resin",
        ),
    ),
    Spot(
        "at",
        "farm",
        "town",
        (
            "hens picked at the ground",
            "a red tractor stood in the yard",
            "the dog slept beside the gate",
        ),
    ),
    Spot(
        "on",
        "island",
        "water",
        (
            "a single tree grew in the middle",
            "the sand was white and warm",
            "seals lay on the rocks",
        ),
    ),
    Spot(
        "in",
        "attic",
        "town",
        (
            "dusty boxes stood in every corner",
            "a spider had made its web in the window",
            "old clothes hung from a beam",
        ),
    ),
    Spot(
        "by",
        "pond",
        "water",
        (
            "green frogs sat on the leaves",
            "water lilies opened in the sun",
            "the reeds moved in the wind",
        ),
    ),
    Spot(
        "in",
        "workshop",
        "town",
        (
            "tools hung neatly on the wall",
            "wood shavings covered the floor",
            "a half finished chair stood on the bench",
        ),
    ),
    Spot(
        "on",
        "mountain path",
        "wild",
        (
            "the stones were loose and sharp",
            "an eagle circled high above",
            "snow still lay in the shade",
        ),
    ),
    Spot(
        "at",
        "windmill",
        "town",
        (
            "the sails creaked in the wind",
            "sacks of grain stood by the door",
            "a gray cat guarded the stairs",
        ),
    ),
    Spot(
        "in",
        "cornfield",
        "wild",
        (
            "the corn stood taller than a horse",
            "a scarecrow waved its empty sleeves",
            "the leaves rustled like paper",
        ),
    ),
    Spot(
        "in",
        "park",
        "town",
        (
            "children were flying paper planes",
            "an old man fed the birds",
            "the chestnut trees were in bloom",
        ),
    ),
    Spot(
        "by",
        "crossroads",
        "wild",
        (
            "a wooden sign pointed four ways",
            "a flat stone lay under a lime tree",
            "cart tracks led off in the dust",
        ),
    ),
)

COLORS = "red blue green yellow white brown golden silver purple orange".split()
THINGS = {  # category -> (nouns, adjectives that suit them)
    "toy": (
        "kite ball doll drum top puppet whistle boat wagon".split(),
        COLORS[:6] + "small wooden new old painted round".split(),
    ),
    "treasure": (
        "ring coin locket bracelet crown medal necklace pearl crystal pendant".split(),
        "golden silver shiny tiny old precious round sparkling".split(),
    ),
    "tool": (
        "lantern rope hammer basket bucket ladder spade compass key lamp candle".split(),
        "old sturdy small heavy useful iron new simple".split(),
    ),
    "wear": (
        "hat scarf coat cap cloak apron belt ribbon shawl".split(),
        COLORS[:6] + "warm woolen old striped soft thick".split(),
    ),
    "music": (
        "flute violin bell guitar harp horn trumpet".split(),
        "old small wooden fine silver little brown".split(),
    ),
    "home": (
        "book clock cup blanket pillow mirror umbrella teapot vase bottle box map".split(),
        "old little blue green heavy painted useful round".split(),
    ),
    "fragile": (
        "vase teapot mirror jug plate lamp bowl flute".split(),
        "old little blue green white painted round".split(),
    ),
    "nature": (
        "stone feather shell acorn leaf flower egg pinecone".split(),
        "smooth white tiny strange speckled perfect beautiful unusual".split(),
    ),
}
FOODS = (  # (a portion, its definite form)
    ("a loaf of bread", "the bread"),
    ("a piece of cheese", "the cheese"),
    ("an apple", "the apple"),
    ("a slice of cake", "the cake"),
    ("a bowl of soup", "the soup"),
    ("a jar of honey", "the honey"),
    ("a bag of nuts", "the nuts"),
    ("a pear", "the pear"),
    ("a basket of berries", "the berries"),
    ("a honey cake", "the cake"),
    ("a cup of warm milk", "the milk"),
    ("a pot of stew", "the stew"),
    ("an orange", "the orange"),
    ("a plum pie", "the pie"),
    ("a handful of cherries", "the cherries"),
)
SOUP_PARTS = (
    "a carrot|an onion|a handful of beans|a potato|a bunch of parsley|a piece of butter|"
    "a pinch of salt|a small pumpkin|a leek|a cup of barley|a turnip|some mushrooms|two tomatoes|"
    "a spoon of honey"
).split("|")
SETTINGS = (
    "in a small village|in a quiet town|in a green valley|in a little house by the forest|"
    "in a town by the sea|in a village at the foot of a mountain|in a cottage near the river|"
    "in a busy harbor town|in a valley full of apple trees|in a stone house on a hill|"
    "in a village between two lakes|in a narrow street with crooked houses|"
    "on a farm at the end of a long road|on a small island|at the edge of a deep forest|"
    "in a village with a tall clock tower|near an old stone bridge|in a land of hills and rivers"
).split("|")
WEATHER = {
    "sunny": (
        "the sun was shining",
        "the sky was blue and clear",
        "it was a warm and bright day",
        "the sun stood high over the roofs",
        "there was not a cloud in the sky",
    ),
    "rainy": (
        "it was raining softly",
        "rain drummed on the roofs",
        "gray clouds hung low",
        "the paths were wet and muddy",
        "raindrops ran down the windows",
    ),
    "windy": (
        "a strong wind was blowing",
        "the wind shook the trees",
        "leaves flew through the air",
        "the wind whistled around the houses",
        "clouds raced across the sky",
    ),
    "snowy": (
        "snow covered the ground",
        "snowflakes fell from the sky",
        "the world was white",
        "icicles hung from the roofs",
        "it was cold and the snow was deep",
    ),
    "foggy": (
        "thick fog lay over the land",
        "the fog made everything gray",
        "it was so foggy that the houses looked like ghosts",
        "mist crept along the ground",
    ),
}
SEASONS = {
    "spring": ("sunny", "rainy", "windy"),
    "summer": ("sunny", "sunny", "windy"),
    "autumn": ("rainy", "windy", "foggy"),
    "winter": ("snowy", "foggy", "snowy"),
}
RELATIVES_F = ("grandmother", "mother", "aunt", "older sister")
RELATIVES_M = ("grandfather", "father", "uncle", "older brother")
