"""The words the world is made of, and its one table of invented facts."""

import itertools

from rewardjax.data.world.draw import Draw

# Every list enters the text by its order: a new word would change the world (see VERSION).
NAMES = ["Ada", "Bo", "Cy", "Dora", "Eli", "Fay", "Gus", "Hana", "Ivo", "June", "Kai", "Lena"]
KINDS = {
    "fruits": ["apple", "fig", "pear", "plum", "kiwi", "lemon", "mango", "grape"],
    "animals": ["cat", "dog", "fox", "goat", "horse", "lion", "mouse", "wolf"],
    "tools": ["axe", "drill", "file", "hammer", "knife", "pliers", "rake", "saw"],
    "colours": ["black", "blue", "brown", "green", "pink", "red", "white", "yellow"],
}
THINGS = list(itertools.chain(*KINDS.values()))
LETTERS = "abcdefghiklmnoprstu"
ERRANDS = [
    "dentist",
    "gym",
    "lunch",
    "market",
    "meeting",
    "music",
    "party",
    "school",
    "swim",
    "walk",
]
GOODS = ["bag", "bike", "boat", "book", "chair", "clock", "hat", "lamp", "ring", "tent"]
WEATHER = ["fog", "frost", "rain", "snow", "storm", "sun", "wind"]
# Eight per letter: a line has up to five of them, and a wrong one needs others.
BY_LETTER = {
    "b": ["big", "bear", "bakes", "bread", "bold", "bees", "buy", "beans"],
    "c": ["calm", "cooks", "count", "clever", "cold", "cows", "cakes", "call"],
    "f": ["five", "fine", "frogs", "find", "fresh", "food", "fast", "fish"],
    "m": ["many", "merry", "mice", "make", "milk", "moon", "more", "men"],
    "s": ["six", "sweet", "swans", "sing", "soft", "songs", "slow", "sun"],
    "t": ["two", "tall", "tigers", "take", "tea", "time", "trees", "ten"],
}

# Twelve, twice as many as each relation has values.
TOWNS = [
    "Arvik",
    "Belmor",
    "Corvo",
    "Dunlin",
    "Eskar",
    "Fenby",
    "Galt",
    "Hollin",
    "Istra",
    "Jorun",
    "Kestle",
    "Lomond",
]
FACTS_ASKED = {
    "river": ["Ash", "Brill", "Cole", "Dart", "Elm", "Frome"],
    "product": ["salt", "wool", "tin", "honey", "silk", "cheese"],
    "flag": ["gold", "grey", "orange", "purple", "silver", "violet"],
    "mayor": ["Mira", "Nils", "Olga", "Pavel", "Quinn", "Rosa"],
}


def _facts() -> dict[str, dict[str, str]]:
    """{town: {relation: value}}: every value belongs to two towns.

    So neither a value nor a town alone tells the other.
    """
    draw = Draw("facts")
    facts: dict[str, dict[str, str]] = {town: {} for town in TOWNS}
    for relation, values in FACTS_ASKED.items():
        for town, value in zip(TOWNS, draw.shuffled(values * 2), strict=True):
            facts[town][relation] = value
    return facts


FACTS = _facts()
