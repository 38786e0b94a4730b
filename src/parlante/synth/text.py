"""Sentences for synthetic speakers, from a small grammar of our own: natural, short, rich in visible mouth shapes."""

import re

import numpy as np

# {name} draws from the list of that name; words favour p b m f v w and round vowels: these are seen on the lips.
_WORDS: dict[str, tuple[str, ...]] = {
    "person": (
        "my mother", "the baker", "our new boss", "Maple", "Bobby", "Vivian", "the bus driver", "your friend Paul",
        "Beth", "my uncle", "the farmer", "Wilma", "the young pilot", "Fatima", "our piano teacher", "Boris",
        "the woman from number five", "the mayor", "Pamela", "the shy boy", "George", "the old fisherman", "Joy",
        "the plumber", "Matthew", "Chewy the dog", "the whole team", "the judge", "Zoe", "Murphy",
    ),
    "people": (
        "we", "they", "my parents", "the children", "both of them", "the neighbours", "you and I", "the boys",
        "some people", "her brothers", "the movers", "a few volunteers", "five of us", "the puppies",
    ),
    "thing": (
        "the blue umbrella", "a map of the moon", "the copper pipe", "my favourite book", "a pair of boots",
        "the wooden box", "a cup of coffee", "the broken violin", "a bowl of soup", "the purple balloon",
        "her father's watch", "the front door", "a bag of apples", "the missing puzzle piece", "his thick scarf",
        "the measuring tape", "an empty jam jar", "the heavy toolbox", "a pound of butter", "the yellow lamp",
        "that awful poem", "the birthday cake", "my bicycle pump", "the telephone bill", "a warm blanket",
        "the window above the stove", "a beige sofa", "the garage key", "an orange", "the mirror in the hall",
    ),
    "place": (
        "the market", "the beach", "the library", "Warsaw", "the football field", "the top of the hill",
        "a village by the river", "the bathroom", "our summer house", "the museum", "the bus stop", "Vermont",
        "the bakery", "the farm", "the swimming pool", "the old theatre", "the garden shed", "the middle of town",
        "the bottom of the lake", "the hospital", "Chicago", "the post office", "the zoo",
    ),
    "time": (
        "this morning", "before supper", "on Monday", "in February", "every Friday", "after the movie",
        "at half past five", "when the rain stops", "by the end of the month", "in the evening",
        "right before bed", "twice a week", "at four in the afternoon", "all summer", "without help",
        "during the storm", "now and then", "at the very beginning", "until noon", "on Thursday",
    ),
    "past": (
        "moved", "bought", "found", "painted", "forgot", "borrowed", "washed", "brought", "dropped", "fixed", "wrapped",
        "measured", "sold", "lost", "photographed", "noticed", "ruined", "covered", "saved", "examined", "hid", "chose",
    ),
    "verb": (
        "move", "buy", "find", "paint", "forget", "borrow", "wash", "bring", "drop", "fix", "wrap", "measure", "sell",
        "lose", "photograph", "notice", "ruin", "cover", "save", "examine", "hide", "choose", "push", "share",
    ),
    "quality": (
        "beautiful", "warm", "impossible", "too loud", "perfectly smooth", "very funny", "awful", "more expensive",
        "mysterious", "dirty and wet", "above average", "almost empty", "quite familiar", "far too big", "cheap",
        "remarkably simple", "bitter", "a bit vague", "brand new", "unusual", "worth the money", "pure magic",
    ),
    "going": (
        "walked", "moved", "wandered", "drove", "rushed", "biked", "flew", "marched", "sailed", "followed us",
    ),
    "animal": (
        "the brown bear", "a white fox", "that poor puppy", "the wolf", "a family of beavers", "the sheep",
        "my cousin's parrot", "the big black beetle", "a hundred bees", "the lamb", "a baby elephant", "the mouse",
        "a pigeon", "the frog", "the young giraffe",
    ),
    "action": (
        "jumped over the bench", "ate the whole pie", "followed us home", "slept beneath the bushes",
        "chewed up my slippers", "hopped into the boat", "moved without a sound", "stopped to look around",
        "made a terrible mess", "vanished in the fog", "climbed up the pole", "gave us a push", "swam across the river",
        "pulled the rope", "broke five vases", "shook the whole bridge", "blew out the candles",
    ),
    "opinion": (
        "I believe", "we both know", "everybody says", "it appears", "maybe", "perhaps", "nobody doubts",
        "I would bet", "of course", "some of us hope", "we presume", "I suppose",
    ),
    "number": (
        "two", "three", "four", "five", "seven", "eleven", "twelve", "fifteen", "twenty", "forty five", "a hundred",
    ),
    "goods": (
        "apples", "maps", "bottles", "pumpkins", "plums", "shovels", "mushrooms", "bags of flour", "movie posters",
        "wool jumpers", "muffins", "batteries", "leather jackets", "paper cups", "beans", "teaspoons", "matches",
    ),
    "task": (
        "open the box", "move the table", "answer the phone", "mop up the water", "feed the fish", "beat the eggs",
        "put the book away", "wait for the bus", "wave to the people", "wipe your feet", "turn the volume up",
        "find a better way", "ask for help", "push the button", "give me your hand", "leave the window open",
        "bring some water", "buy more milk", "whisper", "breathe through your mouth",
    ),
    "why": (
        "because the weather was bad", "because the map was wrong", "so we made a new plan", "but nobody noticed",
        "and everyone laughed", "though it was not my fault", "but the shop was shut", "and the music stopped",
        "because we were far too early", "so I gave up", "although the path was steep", "but we enjoyed it anyway",
        "and that was the end of it", "which made the baby cry",
    ),
    "exclaim": (
        "Oh my", "Wow", "Well", "Hey", "Bravo", "Whoa", "Ah", "Good morning", "Thank you", "Welcome", "Please", "Hush",
    ),
}  # fmt: skip

_PATTERNS: tuple[str, ...] = (
    "{person} {past} {thing} {time}.",
    "{person} {past} {thing}, {why}.",
    "{people} {going} to {place} {time}.",
    "{people} {going} from {place} to {place}.",
    "Will {person} {verb} {thing} {time}?",
    "Why would {person} {verb} {thing}?",
    "Where did {people} {verb} {thing}?",
    "{opinion} {thing} is {quality}.",
    "{opinion} {person} will {verb} {thing} {time}.",
    "{animal} {action} {time}.",
    "{animal} {action}, {why}.",
    "{exclaim}! {thing} is {quality}.",
    "{exclaim}! {person} {past} {thing}!",
    "Please {task} before you {verb} {thing}.",
    "Could you {task}, and then {task}?",
    "Do not {task}; {person} will do it {time}.",
    "We need {number} {goods} and {number} {goods}.",
    "{person} sold {number} {goods} at {place}.",
    "If {people} {verb} {thing}, {person} will be furious.",
    "How many {goods} did {person} {verb}?",
    "{thing} and {thing} are both {quality}.",
    "Between {place} and {place}, {animal} {action}.",
    "What a surprise! You should {verb} {thing} too.",
    "Nobody told {person} to {verb} {thing}.",
)

# Said by every corpus: together they hold all 39 phones in lively contexts.
_ANCHORS: tuple[str, ...] = (
    "Bob and Pam made a map of the beach.",
    "Five foxes have very fluffy fur.",
    "We would watch the moon move above the water.",
    "The boy enjoys a huge bowl of orange soup.",
    "She usually chooses beige shoes for pleasure.",
    "My father's mother thinks both these paths are smooth.",
    "Young George yelled, and the judge jumped.",
    "Her first word was a soft hello.",
    "How now, brown cow? You bow down to the ground.",
    "Look, the cook put a good book by the wood.",
    "The king was singing a long song in spring.",
    "Please, mummy, pop the big purple bubble.",
    "Which vision of the treasure was an illusion?",
    "Eight gray apes ate ripe grapes at the gate.",
    "Oh no, the toast is cold, and so is the coffee.",
    "Thirty three thieves thought that they were free.",
)


def sentences(count: int, seed: int = 0) -> list[str]:
    """`count` distinct sentences, the same for the same seed; the first ones are fixed and hold every English phone.

    Raises ValueError for a negative count or one beyond what the grammar can say (20,000 is safe).
    """
    if count < 0:
        raise ValueError(f"cannot make {count} sentences; give 0 or more")
    rng = np.random.default_rng([seed, 0x7E87])
    said = dict.fromkeys(_ANCHORS[:count])
    tries = 0
    while len(said) < count:
        said.setdefault(_sentence(rng), None)
        tries += 1
        if tries > 20 * count + 1000:
            raise ValueError(f"the grammar ran dry at {len(said)} of {count} sentences; ask for fewer")
    return list(said)


def _sentence(rng: np.random.Generator) -> str:
    while True:
        used: set[str] = set()

        def draw(match: re.Match[str], used: set[str] = used) -> str:
            options = [word for word in _WORDS[match.group(1)] if word not in used]
            word = options[int(rng.integers(len(options)))]
            used.add(word)
            return word

        text = re.sub(r"\{(\w+)\}", draw, _PATTERNS[int(rng.integers(len(_PATTERNS)))])
        text = re.sub(r"\ba ((?:[aeiou])\w+)", r"an \1", text)
        text = re.sub(r"(^|[.!?] )(\w)", lambda m: m.group(1) + m.group(2).upper(), text)
        if 4 <= len(text.split()) <= 16:
            return text
