"""Word banks, invented words and the tiny phrase grammar from which every conversation is made."""

import re
import string


def bank(text: str) -> list:
    """Words separated by spaces; an underscore stands for a space inside a word."""
    return [word.replace("_", " ") for word in text.split()]


NAMES = bank("""
Ada Alan Alba Amir Anna Arun Bea Ben Bilal Carla Carlos Chen Clara Dan Dana David Diego Dora Ed Elena Eli Emma Eric
Eva Farid Finn Flora Frank Grace Greta Hana Hugo Ida Igor Ines Iris Ivan Jack James Jan Jane Jin Joe John Jonas Julia
Kai Kate Kim Kofi Lara Lea Leo Li Lily Linda Lou Lucia Luke Maria Mark Maya Max Mei Mia Mike Mona Nadia Nina Noah Nora
Omar Olga Oscar Paul Peter Petra Rafael Ravi Rita Robert Rosa Sam Sara Sofia Sven Tara Theo Tim Tom Uma Vera Victor
Wei Yara Yuki Zara Zoe
""")
CITIES = bank("""
Paris London Berlin Rome Madrid Lisbon Porto Oslo Bergen Stockholm Helsinki Copenhagen Vienna Prague Warsaw Krakow
Budapest Athens Dublin Cork Brussels Amsterdam Zurich Geneva Milan Naples Venice Barcelona Seville Munich Hamburg
Cologne Lyon Nice Istanbul Cairo Lagos Nairobi Accra Dakar Tunis Mumbai Delhi Pune Tokyo Osaka Kyoto Seoul Busan
Beijing Shanghai Bangkok Hanoi Manila Jakarta Sydney Perth Auckland Toronto Montreal Vancouver Boston Chicago Seattle
Denver Austin Dallas Miami New_York San_Francisco Los_Angeles Mexico_City Lima Quito Bogota Santiago Buenos_Aires
Sao_Paulo Cape_Town Tel_Aviv Hong_Kong Kuala_Lumpur São_Paulo Zürich Malmö Köln Kraków Reykjavík Bogotá
""")
COLORS = bank("red blue green yellow white black brown gray pink purple orange silver golden violet beige")
ANIMALS = bank("""
fox cat dog bear wolf owl mouse rabbit horse cow pig goat sheep duck goose hen frog toad snake lizard turtle whale
dolphin shark fish seal otter beaver badger hedgehog squirrel deer moose lion tiger elephant giraffe zebra monkey panda
koala kangaroo penguin parrot crow robin sparrow eagle hawk swan bat bee ant spider snail crab octopus camel donkey llama
dragon unicorn dinosaur kitten puppy butterfly ladybug raccoon crocodile hippo rhino peacock pigeon hamster
""")
PETS = bank("cat dog rabbit parrot turtle hamster goat pony goose canary ferret lizard hen mouse duck frog")
FOODS = bank("""
apple pear plum cherry banana lemon melon bread cheese rice soup cake pie pizza pasta honey butter salad tomato potato
onion carrot bean nut egg fish tea coffee milk juice water sugar salt chocolate cookie mango grape peach olive
""")
THINGS = bank("""
lantern key bell drum kite boat map book letter button coin ring shell feather stone stick hat scarf boot basket bottle
box candle clock mirror rope ladder wheel wagon bucket blanket pillow cup spoon flute pencil brush ball marble leaf seed
flower acorn mushroom star cloud bridge tower lamp door window chair table phone radio camera engine robot ship train
truck bicycle garden fence hammer needle anchor compass whistle umbrella
""")
JOBS = bank("""
baker teacher doctor nurse farmer painter singer writer cook driver pilot sailor miller tailor gardener lawyer engineer
plumber carpenter dentist chemist librarian fisher potter weaver
""")
PLACES = bank("forest river meadow harbor hill garden village lake beach barn mountain valley island cave pond park")
ADJECTIVES = bank("small brave shy happy sleepy clever curious kind quiet hungry lonely old young funny lazy gentle tiny big")
VERBS = bank("""
open close start stop lock unlock create delete find book order play paint count ship check clean move rename copy print
scan share archive restore repair call visit water feed park mute resize reserve cancel track publish approve reject
""")
TOPICS = bank("""
quantum_physics black_holes the_moon the_sun gravity history philosophy the_French_Revolution the_Roman_Empire football
chess music jazz the_stock_market inflation bitcoin taxes politics democracy climate_change evolution DNA vitamins cancer
diabetes sleep yoga meditation love happiness the_meaning_of_life Shakespeare poetry movies Python JavaScript Rust
Kubernetes Docker Linux SQL machine_learning neural_networks transformers the_internet HTTP TCP compilers recursion
sorting_algorithms binary_search prime_numbers calculus algebra geometry statistics probability chemistry water_boiling
photosynthesis volcanoes earthquakes hurricanes oceans dinosaurs whales space_travel Mars Jupiter rockets airplanes cars
trains bicycles cooking baking_bread sushi pizza coffee wine gardening roses fashion shoes marketing law contracts
insurance marriage children schools universities exams dreams memory consciousness ethics religion Buddhism art Picasso
Mozart Beethoven the_Beatles guitars pianos Einstein Newton Napoleon Cleopatra OpenAI Google Apple Tesla the_Olympics
tennis swimming marathons chemistry batteries solar_panels nuclear_power electricity magnets lasers robots video_games
""")

ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gr kl pl pr sh sk sl st th tr qu bl sp".split()
VOWELS = "a e i o u a e i o ai ea ee oo ou ia".split()
CODAS = ["", "", "", "n", "r", "s", "l", "t", "m", "k", "d", "x", "ck", "nd", "rt", "st", "ng"]


def made_up_word(rng) -> str:
    """A pronounceable word that is in no bank: what makes copying general instead of remembered."""
    return "".join(
        rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.choice((1, 1, 2, 2, 2)))
    )


def person(rng) -> str:
    return rng.choice(NAMES) if rng.random() < 0.4 else made_up_word(rng).capitalize()


def city(rng) -> str:
    name = rng.choice(CITIES) if rng.random() < 0.6 else made_up_word(rng).capitalize()
    return name + rng.choice((", CA", ", France", ", Germany", ", TX", ", UK", ", Japan")) if rng.random() < 0.04 else name


def noun(rng) -> str:
    pick = rng.random()
    if pick < 0.25:
        return made_up_word(rng)
    return rng.choice(rng.choice((THINGS, FOODS, ANIMALS, COLORS, PLACES)))


def foreign(rng) -> str:
    """A word outside plain ASCII, so that any bytes can be copied."""
    alphabet = rng.choice(("äöüßéèêçñåøíáóõ", "абвгдежзиклмнопрст", "αβγδεζηθικλμνξο", "你好世界中国人大小山水火日月", "あいうえおかきくけこ", "🙂🚀🎉🐱🌍⭐🔥"))
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 3)))


def code(rng) -> str:
    """An identifier as people paste it: letters and digits in any order."""
    shape = rng.choice(("LDD", "LLDDD", "LL-DDD", "L-DD", "lldd", "DDDD", "DDDDD"))
    letters, digits = string.ascii_uppercase, string.digits
    pools = {"L": letters, "l": letters.lower(), "D": digits}
    return "".join(rng.choice(pools.get(c, c)) for c in shape)


CHOICE = re.compile(r"\[([^\[\]]*)\]")


def phrase(rng, pattern: str) -> str:
    """Expand `[a|b|c]` to one of its alternatives, innermost first."""
    while True:
        expanded = CHOICE.sub(lambda match: rng.choice(match[1].split("|")), pattern)
        if expanded == pattern:
            return re.sub(r"  +", " ", expanded).strip()
        pattern = expanded


def ask(rng, pattern: str, **slots) -> str:
    """A question as somebody might type it: another case, no question mark, a greeting or thanks around it.

    Only the pattern is disturbed; what fills the slots is copied exactly, because answers repeat it.
    """
    text = phrase(rng, pattern)
    if rng.random() < 0.16:
        text = rng.choice(("hi, ", "Hey, ", "Hello! ", "Please: ", "So, ", "Ok, ", "Question: ", "Now: ", "And ", "Hi! ", "Tell me: ")) + text
    if rng.random() < 0.1:
        text += rng.choice((" Thanks!", " Thank you.", " please", " :)"))
    if rng.random() < 0.3:
        text = text.lower()
    elif rng.random() < 0.05:
        text = text[:1].lower() + text[1:]
    if rng.random() < 0.3:
        text = text.rstrip("?.!")
    elif rng.random() < 0.06:
        text = text.rstrip("?.!") + rng.choice((" ?", "??", "...", "!", "."))
    if rng.random() < 0.05:
        text = text.replace("'", "\u2019" if rng.random() < 0.5 else "")
    return text.format(**slots)


def article(word: str) -> str:
    return ("an " if word[:1].lower() in "aeiou" else "a ") + word


def listing(parts: list) -> str:
    """a, b and c"""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
