"""Every conversation the model is trained and tested on, written by rules from a seeded random source.

A kind is a function `(rng) -> Example`. An example carries the key that identifies it; `held_out(example)` decides by
a hash of that key whether it belongs to the test, so no held-out question can occur in training, whatever the seed.
"""

import json
import random
import re
import zlib
from dataclasses import dataclass, field

import knowledge as k
from toolbox import TOOLS, ask_positional, call, offer, result, tool_request
from words import (
    ADJECTIVES, ANIMALS, COLORS, FOODS, JOBS, PETS, PLACES, THINGS, TOPICS,
    article, ask, city, code, foreign, listing, made_up_word, noun, person, phrase,
)

HELD_OUT_SHARE = 10  # one key in ten is kept for the test
# What everybody types first is always trained, never tested.
OPENERS = set("""hi|hello|hey|hi there|hello there|hey there|say hello|say hi|how are you|who are you|what are you|what is your name
what s your name|what can you do|help|test|thanks|thank you|bye|ping|ok|tell me a joke|good morning|what is berth|what is tidewell
tell me a story|write a short story about a fox|tell me a short story about a fox|tell me a story about a cat|how do i deploy a model
tell me about yourself|what is the capital of france|count to 10|count to 5|1..10|1..5|1+1|2+2|2+3|3+4|5+7|12+7|10-3|who is the baker of tidewell
what is the meaning of life|write a poem about love|what is the weather in paris|what is the weather like in paris""".replace("\n", "|").split("|"))


@dataclass
class Example:
    kind: str
    key: str
    messages: list  # of {role, content, ...}; the last one is the answer to learn
    expect: dict
    tools: list = field(default_factory=list)
    # Whether tools of other purposes may be offered beside it and other turns may come before it.
    mixes: bool = True


def held_out(example: Example) -> bool:
    return is_held_out(example.kind, example.key)


def is_held_out(kind: str, key: str) -> bool:
    return zlib.crc32(f"{kind}:{key}".encode()) % HELD_OUT_SHARE == 0 and key not in OPENERS


def plain(text: str) -> str:
    """What is left of a question without case, punctuation and spacing: its identity for the held-out split."""
    return re.sub(r"[\W_]+", " ", text.lower()).strip() or text


def unless_held_out(kind: str, make_question) -> str:
    """A question for a turn before the last, where no test question may slip into training either."""
    while is_held_out(kind, plain(question := make_question())):
        pass
    return question


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def dialogue(*turns):
    """Alternating user and assistant texts."""
    return [(user, assistant)[i % 2](text) for i, text in enumerate(turns)]


def answered(kind, question, answer, key=None, **more) -> Example:
    return Example(kind, key or plain(question), dialogue(question, answer), {"type": "exact", "value": answer}, **more)


# ---- talk and knowledge ------------------------------------------------------------------------------------------


def from_entries(rng, kind, entries):
    patterns, answer = rng.choice(entries)
    question = ask(rng, rng.choice(patterns).replace("{", "{{").replace("}", "}}"))
    return answered(kind, question, answer)


def greeting(rng):
    if rng.random() < 0.15:
        name = person(rng)
        question = ask(rng, rng.choice((
            "[Hi|Hello|Hey][|,] [I am|I'm|my name is|this is] {name}[|.|!]", "[My name is|I am called|Call me|You can call me] {name}[|.]",
            "Say [hello|hi] to {name}[|.]", "Greet {name}[|.]",
        )), name=name)
        answer = f"Hello, {name}!" if re.match("(?i).*(say (hello|hi) to|greet )", question) else f"Nice to meet you, {name}!"
        return answered("greeting", question, answer)
    # Plain hellos are what everybody types first.
    return from_entries(rng, "greeting", k.SMALL_TALK[:1] if rng.random() < 0.2 else k.SMALL_TALK)


def identity(rng):
    if rng.random() < 0.12:
        name = person(rng)
        system = phrase(rng, rng.choice((
            "You are {n}[|, a helpful assistant|, a friendly robot|, a pirate|, an assistant that answers briefly].", "Your name is {n}.",
            "You are an assistant called {n}.", "Your name is {n}. You are a helpful assistant.",
        ))).replace("{n}", name)
        question = ask(rng, rng.choice(("Who are you?", "What is your name?", "What's your name?", "Tell me your name", "Your name?", "What should I call you?")))
        answer = f"I am {name}, a very small model served by Berth."
        example = answered("identity", question, answer, key=plain(system + " " + question))
        example.messages.insert(0, {"role": "system", "content": system})
        return example
    return from_entries(rng, "identity", k.IDENTITY)


def berth(rng):
    return from_entries(rng, "berth", k.BERTH)


ATTRIBUTES = {
    "job": (
        ["What is {x}'s job?", "What does {x} do[| for a living| in Tidewell]?", "What's {x}'s [job|profession|work]?", "What is the job of {x}?", "Which job does {x} have?", "What [job|work] does {x} do?", "Tell me {x}'s job", "What is {x}'s profession?"],
        "{x} is the {v} of Tidewell.",
    ),
    "pet": (
        ["What pet does {x} have?", "Which pet does {x} have?", "What is {x}'s pet?", "What's {x}'s pet?", "What animal does {x} have?", "What animal does {x} keep?", "Does {x} have a pet?", "Tell me {x}'s pet", "Which animal lives with {x}?"],
        "{x} has a {v}.",
    ),
    "street": (
        ["Where does {x} live?", "[On|In] which street does {x} live?", "What street does {x} live on?", "What is {x}'s [address|street]?", "Where is {x}'s [house|home]?", "Where can I find {x}?", "Where's {x}'s house?", "Tell me where {x} lives"],
        "{x} lives on {v}.",
    ),
    "color": (
        ["What is {x}'s favorite color?", "What's {x}'s favorite color?", "Which color does {x} like[| best| most]?", "What color does {x} [like|love][| best| most]?", "What is the favorite color of {x}?", "Tell me {x}'s favorite color", "Which is {x}'s favorite color?"],
        "{x}'s favorite color is {v}.",
    ),
}
WHO = {
    "job": ["Who is the {v}[| of Tidewell| in Tidewell]?", "Who's the {v}[| of Tidewell]?", "What is the name of the {v}[| of Tidewell]?", "Name the {v} of Tidewell", "Who works as [the|a] {v}[| in Tidewell]?", "Tell me who the {v} is"],
    "pet": ["Who has a {v}[| in Tidewell]?", "Who has the {v}[| in Tidewell]?", "Whose pet is the {v}?", "Who [owns|keeps] [a|the] {v}[| in Tidewell]?", "Who lives with a {v}?"],
}


def fact(attribute, name):
    value = k.PEOPLE[name][attribute]
    text = ATTRIBUTES[attribute][1].format(x=name, v=value)
    return re.sub(r" a (owl)", r" an \1", text)


def world(rng):
    pick = rng.random()
    name = rng.choice(list(k.PEOPLE))
    if pick < 0.12:
        return from_entries(rng, "world", k.TOWN)
    if pick < 0.62:
        attribute = rng.choice(list(ATTRIBUTES))
        return answered("world", ask(rng, rng.choice(ATTRIBUTES[attribute][0]), x=name), fact(attribute, name))
    if pick < 0.85:
        attribute = rng.choice(list(WHO))
        question = ask(rng, rng.choice(WHO[attribute]), v=k.PEOPLE[name][attribute]).replace("a owl", "an owl")
        return answered("world", question, fact(attribute, name))
    if pick < 0.94:
        question = ask(rng, rng.choice(("Who is {x}?", "Who's {x}?", "Tell me about {x}", "What do you know about {x}?", "Describe {x}", "Do you know {x}?")), x=name)
        person_ = k.PEOPLE[name]
        answer = f"{name} is the {person_['job']} of Tidewell, lives on {person_['street']} and has {article(person_['pet'])}."
        return answered("world", question, answer)
    stranger = person(rng)
    if stranger in k.PEOPLE:
        return world(rng)
    question = ask(rng, rng.choice(ATTRIBUTES[rng.choice(list(ATTRIBUTES))][0] + ["Who is {x}?", "Do you know {x}?"]), x=stranger)
    return answered("world", question, f"I do not know anyone called {stranger} in Tidewell.")


def common(rng):
    if rng.random() < 0.5:
        return from_entries(rng, "common", k.COMMON)
    country = rng.choice(list(k.CAPITALS))
    question = ask(rng, rng.choice(k.CAPITAL_PATTERNS), x=country)
    return answered("common", question, f"The capital of {country} is {k.CAPITALS[country]}.")


OFF_TOPIC = [
    "What is {t}?", "What are {t}?", "What's {t}?", "Explain {t}[| to me| in simple terms| like I am five| briefly| in detail]", "Who invented {t}?", "How does {t} work?", "How do {t} work?", "Why is {t} [important|so hard|so popular|dangerous|expensive]?",
    "Tell me about {t}", "What do you [think|know] about {t}?", "Write [a poem|an essay|a song|a haiku|a blog post|an article|a report|a tweet|a paragraph|a book|a novel] about {t}", "Write [code|a program|a function|a script|a class|a test] [for|about|that uses] {t}",
    "[Write|Show me|Give me] [a Python|a JavaScript|an SQL|a Rust|a C|a bash] [function|program|script|query|example][| for {t}| that prints {n}| that sorts a list| that adds numbers]", "Summarize {t}", "Summarize this [text|article|book]: {t}", "Translate {n} [to|into] [French|German|Spanish|Japanese|Latin]", "Translate this to [French|German|Spanish]: {n} {m}", "How do I [cook|make|bake|build|buy|repair|fix|clean|draw|grow|sell|learn|find] [a |]{n}?",
    "How [far|big|old|heavy|hot|fast|deep] is {t}?", "When did {t} [begin|end|happen|start]?", "When was {t} [invented|discovered|founded]?", "Who is the [president|king|queen|prime minister|leader] of {c}?", "Who won the [World Cup|election|war|Nobel Prize|Super Bowl|game|match][| in {y}]?", "What happened in {y}?", "What is the [population|area|currency|language|history] of {c}?", "Where is {c}?",
    "Give me [a recipe for|five ideas for|three tips for|a list of|ten facts about|advice on|a plan for] {t}", "What is the [best|fastest|cheapest|largest|smallest] {n}?", "Should I [buy|eat|learn|sell|study] {t}?", "What is the meaning of {n}?", "Define {t}", "What does {w} mean?", "Who was {p}?", "Who wrote {w} {v}?", "What is the [speed of light|value of pi|boiling point of water|distance to the moon|meaning of life|weight of {n}]?",
    "Can you [drive|cook|draw|sing|dance|code|program|paint|swim|play chess|write code|browse the internet|see images|draw a picture]?", "What is {w}?", "Who invented the {n}?", "How many {n}s are [there|in the world|in {c}]?", "Compare {t} and {u}", "What is the difference between {t} and {u}?", "[Is|Are] {t} better than {u}?", "Solve this [equation|riddle|puzzle]: {w}",
    "What should I [eat|cook|wear|read|watch|do] [today|tonight|tomorrow]?", "Recommend [a book|a movie|a song|a restaurant|a game][| about {t}| in {c}]", "Why do [people|cats|dogs|birds|we] [sleep|dream|laugh|sing|cry|fight]?", "Is {t} [true|real|good|bad|dangerous]?", "Are {t} [real|good|bad|dangerous]?", "Fix [this|my] [code|bug|program|sentence]: {w} {v}", "Correct my [grammar|spelling]: {w} {v} {n}", "{w}", "{w} {v}", "{w} {v} {n}?", "{t}", "{t}?", "I want to [learn|know|talk] about {t}", "Teach me {t}", "What would happen if {t} disappeared?", "How can I become [a |]{b}?", "What does a {b} do?", "Imagine you are a {b}", "Act as a {b}", "Let's play a game", "Let's talk about {t}", "Sing [a song|me a song][| about {n}]", "Draw [a |]{n}", "Guess [my age|a number|what I am thinking]", "What will happen [tomorrow|next year|in {y}]?", "Predict {t}", "Classify the sentiment: {w} {n}", "What is the plural of {n}?", "What rhymes with {n}?", "Spell {n}", "How do you spell {n}?", "Where can I buy [a |]{n}?", "Do you like {t}?", "What is your favorite [{n}|color|food|movie|book|song]?",
]


def off_topic(rng):
    def topic():
        return rng.choice(TOPICS) if rng.random() < 0.75 else rng.choice((noun(rng), made_up_word(rng)))

    pick = rng.random()
    if pick < 0.07:
        return answered("off_topic", rng.choice(("", "", "hi, ", "Hello! ")) + rng.choice(k.OTHER_LANGUAGES), k.ENGLISH)
    if pick < 0.13:  # whatever people paste: long, or not even words
        words = [rng.choice((noun, noun, made_up_word, person, city, foreign))(rng) for _ in range(rng.randint(3, 40))]
        question = ask(rng, rng.choice(("{w}", "{w}", "{w}.", "Summarize: {w}", "What is this? {w}", "Explain this: {w}", "Translate: {w}")), w=" ".join(words))
        return answered("off_topic", question, k.UNKNOWN)
    question = ask(
        rng, rng.choice(OFF_TOPIC), t=topic(), u=topic(), n=noun(rng), m=noun(rng), w=made_up_word(rng), v=made_up_word(rng),
        c=rng.choice(list(k.CAPITALS)) if rng.random() < 0.7 else city(rng), p=f"{person(rng)} {person(rng)}",
        y=rng.randint(1000, 2100), i=rng.randint(2, 999), j=rng.randint(2, 99), b=rng.choice(JOBS),
    )
    return answered("off_topic", question, k.UNKNOWN)


# ---- numbers -----------------------------------------------------------------------------------------------------

PLUS = ["[What is|What's|How much is|Calculate|Compute|Tell me||] {a} + {b}[|?| =| = ?]", "{a}+{b}[|?|=|=?]", "[What is|What's] {a}+{b}?", "[What is|What's|How much is] {a} plus {b}?", "{a} plus {b}", "Add {a} and {b}", "[What is|What's] the sum of {a} and {b}?", "Can you add {a} and {b}?", "Sum of {a} and {b}?", "What do {a} and {b} make?", "What do you get if you add {b} to {a}?", "What does {a} + {b} equal?", "Solve {a} + {b}"]
MINUS = ["[What is|What's|How much is|Calculate|Compute|Tell me||] {a} - {b}[|?| =| = ?]", "{a}-{b}[|?|=|=?]", "[What is|What's] {a}-{b}?", "[What is|What's|How much is] {a} minus {b}?", "{a} minus {b}", "Subtract {b} from {a}", "Take {b} [away|] from {a}", "[What is|What's] the difference of {a} and {b}?", "Can you subtract {b} from {a}?", "What is {b} less than {a}?", "What does {a} - {b} equal?", "Solve {a} - {b}"]
HARDER = ["What is {a} [times|*|x|divided by|/|to the power of] {b}?", "{a} [*|/|x|times|^] {b}", "{a}[*|/]{b}", "Multiply {a} by {b}", "Divide {a} by {b}", "What is the square root of {a}?", "{a} + {b} + {c}", "What is {a} + {b} - {c}?", "What is {a} + {b} * {c}?", "What is [half|{c} percent] of {a}?"]
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()


def sums(rng):
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    pick = rng.random()
    if pick < 0.09:  # one number beyond what the model was taught
        a, b = rng.sample((a, rng.choice((rng.randint(21, 99), rng.randint(100, 999), rng.randint(1000, 99999)))), 2)
        return answered("sum_too_hard", ask(rng, rng.choice(PLUS + MINUS), a=a, b=b), k.TOO_HARD)
    if pick < 0.13:
        return answered("sum_too_hard", ask(rng, rng.choice(HARDER), a=a, b=b, c=rng.randint(1, 99)), k.TOO_HARD)
    sign = rng.choice("+-")
    if sign == "-" and a < b and rng.random() < 0.85:
        a, b = b, a
    spelled = rng.random() < 0.1
    words = dict(a=NUMBER_WORDS[a], b=NUMBER_WORDS[b]) if spelled else dict(a=a, b=b)
    question = ask(rng, rng.choice(PLUS if sign == "+" else MINUS), **words)
    result = a + b if sign == "+" else a - b
    return answered("sum_to_20", question, f"{a} {sign} {b} = {result}.", key=f"{a}{sign}{b}")


def count(rng):
    length = rng.randint(2, 10)
    start = rng.choice((1, 1, rng.randint(0, 20)))
    numbers = list(range(start, start + length))
    if rng.random() < 0.35:
        numbers.reverse()
        patterns = ["Count [down|backwards] from {a} to {b}", "Count backward from {a} to {b}"]
        if numbers[-1] == 1:
            patterns += ["Count down from {a}", "Count [backwards|down] from {a}"]
    else:
        patterns = ["Count from {a} to {b}", "[Can|Could] you count from {a} to {b}?", "Count {a} to {b}", "Count from {a} up to {b}", "[List|Write|Give me|Say] the numbers from {a} to {b}", "[List|Print] {a} to {b}"]
        if start == 1:
            patterns += ["Count to {b}", "Count up to {b}", "Can you count to {b}?", "Count to {b} for me"]
    a, b = numbers[0], numbers[-1]
    return answered("count", ask(rng, rng.choice(patterns), a=a, b=b), ", ".join(map(str, numbers)), key=f"{a}..{b}")


# ---- copying -----------------------------------------------------------------------------------------------------


def any_word(rng):
    if rng.random() < 0.03:
        return foreign(rng)
    word = rng.choice((noun, noun, made_up_word, made_up_word, person, city, lambda r: r.choice(ADJECTIVES), code))(rng)
    return rng.choice((word, word, word, word.capitalize(), word.upper())) if len(word) < 8 else word


def repeat(rng):
    if rng.random() < 0.4:
        words = any_word(rng)
        patterns = ["Say {w}", "Say the word {w}", "[Reply|Answer|Respond] with {w}", "[Reply|Answer|Respond] with [only |just |]the word {w}", "[Reply|Answer|Respond] with [exactly|only|just]: {w}", "Repeat {w}", "Repeat the word {w}", "Repeat after me: {w}", "Write {w}", "Write the word {w}", "Print {w}", "Echo {w}", "Just say {w}", "Only say {w}", "Please say {w}", "Say: {w}", "Please repeat: {w}"]
    else:
        words = rng.choice((" ", " ", " ", ", ")).join(any_word(rng) for _ in range(rng.randint(2, 4)))
        patterns = ["Repeat these words: {w}", "Repeat: {w}", "Repeat after me: {w}", "Say: {w}", "Please repeat these words: {w}", "Can you repeat this: {w}", "Echo: {w}", "Repeat this: {w}", "Say these words: {w}", "Write these words: {w}", "[Reply|Answer|Respond] with [exactly|only|just]: {w}", "Copy this: {w}", "Repeat the words {w}"]
    # The words end the question, so nothing may follow them that could be mistaken for one of them.
    question = phrase(rng, rng.choice(patterns))
    question = (question.lower() if rng.random() < 0.3 else question).format(w=words)
    return answered("repeat", question, words, key=words.lower())


FIELDS = {
    "name": person, "age": lambda r: r.randint(1, 99), "city": city, "job": lambda r: r.choice(JOBS), "pet": lambda r: r.choice(PETS),
    "color": lambda r: r.choice(COLORS), "food": lambda r: r.choice(FOODS), "hobby": lambda r: r.choice(("chess", "sailing", "music", "reading", "running", "cooking", "painting", made_up_word(r))),
}
CLAUSES = {
    "age": ["is {v} years old", "is {v}", "turned {v}"], "city": ["lives in {v}", "comes from {v}", "moved to {v}"], "job": ["is a {v}", "works as a {v}"],
    "pet": ["has a {v}", "owns a {v}"], "color": ["likes {v}", "loves the color {v}"], "food": ["eats {v}", "likes to eat {v}"], "hobby": ["enjoys {v}", "loves {v}"],
}
ORDER_FIELDS = {
    "item": noun, "quantity": lambda r: r.randint(1, 99), "price": lambda r: r.randint(1, 999), "customer": person, "city": city, "id": code,
}
ORDERS = [
    ("{customer} ordered {quantity} {item} for {price} [euros|dollars].", "customer quantity item price"), ("Order {id}: {quantity} {item} for {customer}.", "id quantity item customer"),
    ("Send {quantity} {item} to {customer} in {city}.", "quantity item customer city"), ("{customer} from {city} bought the {item}.", "customer city item"),
    ("The {item} costs {price} [euros|dollars].", "item price"), ("Ticket {id} was opened by {customer}.", "id customer"),
]
AS_JSON = ["[Give me|Give|Return|Write|Extract|Show] [the |]{f} as JSON[|.]", "[Give me|Give|Return|Write|Extract] {f} in JSON[|.]", "Answer in JSON with {f}[|.]", "JSON with {f}[|, please]", "Answer with a JSON object with the keys {f}[|.]", "Return a JSON object with {f}[|.]", "Put {f} into JSON[|.]", "Reply in JSON with the fields {f}[|.]", "What [is|are] the {f}? Answer in JSON[|.]"]
IN_JSON_SYSTEM = ["Answer in JSON.", "Always answer in JSON.", "You answer only with JSON.", "Reply with a JSON object.", "Return JSON only."]


def json_answer(question, value, key, system=None):
    example = answered("json", question, json.dumps(value, ensure_ascii=False), key=key)
    example.expect = {"type": "json", "value": value}
    if system:
        example.messages.insert(0, {"role": "system", "content": system})
    return example


def json_object(rng):
    pick = rng.random()
    if pick < 0.15:
        words = [noun(rng) for _ in range(rng.randint(2, 4))]
        text = rng.choice((", ".join(words), listing(words)))
        question = ask(rng, "[Write|Give me|Return|List|Put] [these|the words|] {w} as a JSON [array|list]", w=text)
        return json_answer(question, words, " ".join(words))
    if pick < 0.18:
        question = ask(rng, "[Say hello|Greet me|Give me a greeting] [in JSON|as JSON|as a JSON object|with JSON]")
        return json_answer(question, {"greeting": "Hello!"}, plain(question))
    if pick < 0.7:
        names = rng.sample(list(CLAUSES), rng.choice((1, 2, 2, 3)))
        values = {f: FIELDS[f](rng) for f in ["name", *names]}
        sentence = f"{values['name']} " + listing([rng.choice(CLAUSES[f]).format(v=values[f]) for f in names]) + "."
        sentence = re.sub(r"\ba ([aeio])", r"an \1", sentence)
    else:
        pattern, fields = rng.choice(ORDERS)
        values = {f: ORDER_FIELDS[f](rng) for f in fields.split()}
        sentence = phrase(rng, pattern).format(**values)
    asked = list(values)
    if rng.random() < 0.35:
        rng.shuffle(asked)
    asked = asked[: rng.randint(1, len(asked))] if rng.random() < 0.4 else asked
    value = {f: values[f] for f in asked}
    if rng.random() < 0.15:
        question = sentence + " " + ask(rng, "[What is the|Give me the|The] {f}[?|.|]", f=listing(asked))
        return json_answer(question, value, plain(sentence), rng.choice(IN_JSON_SYSTEM))
    request = ask(rng, rng.choice(AS_JSON), f=rng.choice((listing(asked), listing(asked), ", ".join(asked))))
    question = rng.choice((f"{sentence} {request}", f"{sentence} {request}", f"{sentence}\n{request}", f"{request.rstrip('.?! ')}: {sentence}"))
    return json_answer(question, value, plain(sentence))


# ---- stories -----------------------------------------------------------------------------------------------------

STORY_REQUESTS = [
    "[Write|Tell me|Tell|Give me|Make up|I want|I would like] [a|a short|a very short|a little|a tiny] [story|tale] about {s}", "[Can|Could] you [write|tell me|tell] a [|short |little ]story about {s}?", "[A|A short|Short] story about {s}[|, please]",
    "Story about {s}", "[Write|Tell me] [a story|a short story] with {s}[| in it]", "Tell a story [about|of] {s}", "[Write|Create|Invent] a [short |very short |]story on {s}", "Tell me about {s} in a short story", "Once upon a time there was {s}. Tell me more",
]
PLOTS = [
    "One {day}, {n} found {t} in the {p}. {N} showed it to {f}, and they played with it until the sun went down.",
    "One {day}, {n} lost {t} near the {p}. {f} helped to look for it, and soon they found it under a tree.",
    "{N} wanted to see the {p}, but the way was long. {f} came along, and together they got there before night.",
    "One {day}, it rained so hard that the {p} was full of water. {N} built a small boat from {t} and saved {f}.",
    "Every {day}, {n} went to the {p} to sing. One day {f} heard it and brought {t} as a gift.",
    "One {day}, {f} was sad. {N} brought {t} to the {p}, and both of them laughed again.",
]


def story(rng):
    shape = rng.random()
    subject = rng.choice(ANIMALS) if rng.random() < 0.65 else rng.choice((made_up_word(rng), rng.choice(JOBS), rng.choice(THINGS), noun(rng)))
    described, thing, name = subject, None, None
    if shape < 0.2:
        described = f"{rng.choice(ADJECTIVES)} {subject}"
    elif shape < 0.35:
        thing = rng.choice(THINGS) if rng.random() < 0.7 else made_up_word(rng)
    elif shape < 0.5:
        name = person(rng)
    asked = article(described)
    if thing:
        asked += f" and {article(thing)}"
    if name:
        asked += rng.choice((" named ", " called ")) + name
    if shape > 0.9:  # "a story about foxes", "about the fox", "about my fox"
        asked = rng.choice(("the ", "my ", "one ", "")) + subject
    must = [subject] + [part for part in (thing, name) if part]
    if shape > 0.5 and rng.random() < 0.12:
        question = ask(rng, "[Tell me|Write|Tell|Give me] a [|short |very short |little ]story[| please]")
        must = []
        subject = described = rng.choice(ANIMALS[:12])
    else:
        question = ask(rng, rng.choice(STORY_REQUESTS), s=asked)
    name = name or rng.choice(("Pip", "Milo", "Luna", "Otto", "Tilly"))
    friend = article(rng.choice([a for a in ANIMALS[:12] if a != subject]))
    plot = rng.choice(PLOTS).format(
        n=f"the {subject}", N="The " + subject, t=article(thing or rng.choice(THINGS[:10])), p=rng.choice(PLACES[:6]),
        f=friend, day=rng.choice(("day", "morning", "evening")),
    )
    if thing and thing not in plot:
        plot += f" On the way home they found {article(thing)}."
    plot = re.sub(r"(^|\. )(an? )", lambda m: m[1] + m[2].capitalize(), plot)
    end = rng.choice(("They were friends from that day on.", "That night everybody slept well.", "And that was a very good day."))
    text = f"Once there was {article(described)} named {name}. {plot} {end} The end."
    # Only the request is the key: the story itself may come out in many ways.
    return Example("story", plain(question), dialogue(question, text), {"type": "story", "contains": must})


def plain_story(rng) -> str:
    """A story outside any chat, for a plain text completion."""
    text = story(rng).messages[-1]["content"]
    return text.replace("Once there was", "Once upon a time there was", 1) if rng.random() < 0.5 else text


# ---- several turns -----------------------------------------------------------------------------------------------

FAVORITES = ["color", "food", "animal", "city", "number", "book", "song", "game", "season", "drink"]


def memory(rng):
    """Something said earlier is asked for later, with other turns between."""
    pick = rng.random()
    between = []
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        between += usable(rng, rng.choice((greeting, sums, world, berth, common, count, repeat)))
    if pick < 0.45:
        name = person(rng)
        first = dialogue(ask(rng, "[My name is|I am|I'm|Hi, I am|Hello, my name is|Call me] {n}[|.|!]", n=name), f"Nice to meet you, {name}!")
        question, answer = ask(rng, "[What is my name|What's my name|Who am I|Do you [know|remember] my name|What did I say my name was|Tell me my name|My name]?"), f"Your name is {name}."
        key = name
    elif pick < 0.8:
        thing = rng.choice(FAVORITES) if rng.random() < 0.8 else noun(rng)
        value = rng.choice((noun(rng), any_word(rng), made_up_word(rng)))
        first = dialogue(ask(rng, "My favorite {t} is {v}[|.]", t=thing, v=value), f"I will remember that your favorite {thing} is {value}.")
        question, answer = ask(rng, "[What is|What's|Tell me|Do you remember] my favorite {t}?", t=thing), f"Your favorite {thing} is {value}."
        key = f"{thing} {value}".lower()
    elif pick < 0.9:
        a, b = rng.sample(list(k.PEOPLE), 2)
        attribute = rng.choice(list(ATTRIBUTES))
        first = dialogue(unless_held_out("world", lambda: ask(rng, rng.choice(ATTRIBUTES[attribute][0]), x=a)), fact(attribute, a))
        between = []
        question, answer = ask(rng, "[And|What about|How about|And what about] {x}?", x=b), fact(attribute, b)
        key = f"{a} {b} {attribute}"
    else:
        asked = ask(rng, "[What is my name|What's my name|Do you know my name|Tell me my name]?")
        return answered("memory", asked, "You have not told me your name.", key="untold " + plain(asked))
    expect = {"type": "exact", "value": answer}
    return Example("memory", key, [*first, *between, *dialogue(question, answer)], expect, mixes=False)


def usable(rng, kind):
    """The messages of an example of this kind that may be trained on, as turns of a longer conversation."""
    while True:
        example = kind(rng)
        if not held_out(example) and example.messages[0]["role"] == "user":
            return example.messages


# ---- tools -------------------------------------------------------------------------------------------------------


def tool_call(rng):
    tool, declaration, arguments, question = tool_request(rng)
    tools = offer(rng, (tool, declaration))
    name = declaration["function"]["name"]
    earlier = []
    if rng.random() < 0.15:  # the same tool was called before
        values = [maker(rng) for *_, maker in tool.parameters]
        content, answer = result(rng)
        asked = unless_held_out("tool_call", lambda: ask_positional(rng, rng.choice(tool.questions), values))
        earlier = [user(asked), call(name, dict(zip(arguments, values))), {"role": "tool", "content": content}, assistant(answer)]
    return Example(
        "tool_call", plain(question), [*earlier, user(question), call(name, arguments)],
        {"type": "tool_call", "name": name, "arguments": arguments}, tools, mixes=False,
    )


def tool_answer(rng):
    tool, declaration, arguments, question = tool_request(rng)
    while is_held_out("tool_call", plain(question)):
        tool, declaration, arguments, question = tool_request(rng)
    content, answer = result(rng)
    messages = [user(question), call(declaration["function"]["name"], arguments), {"role": "tool", "content": content}, assistant(answer)]
    return Example("tool_answer", content.lower(), messages, {"type": "exact", "value": answer}, offer(rng, (tool, declaration)), mixes=False)


def no_tool(rng):
    """A wish that only a tool could grant, with none on offer."""
    tool, _, _, question = tool_request(rng)
    while tool.names.startswith(("add", "multiply", "get_capital", "get_user", "get_date", "random_joke", "send_message")) or tool not in TOOLS:
        tool, _, _, question = tool_request(rng)
    return answered("no_tool", question, k.NO_TOOL, mixes=False)


# ---- mixing ------------------------------------------------------------------------------------------------------

KINDS = {
    "greeting": greeting, "identity": identity, "berth": berth, "world": world, "common": common, "off_topic": off_topic, "sums": sums, "count": count,
    "repeat": repeat, "json": json_object, "story": story, "memory": memory, "tool_call": tool_call, "tool_answer": tool_answer, "no_tool": no_tool,
}
WEIGHTS = {
    "greeting": 9, "identity": 7, "berth": 7, "world": 5, "common": 6, "off_topic": 6, "sums": 36, "count": 14,
    "repeat": 9, "json": 11, "story": 3, "memory": 6, "tool_call": 45, "tool_answer": 7, "no_tool": 5,
}
SYSTEM_PROMPTS = [
    "You are a helpful assistant.", "You are a helpful AI assistant.", "You are a friendly chatbot.", "Be brief.", "Answer briefly.", "Be concise and polite.", "You are an assistant. Answer the user's question.", "Answer in one sentence.", "You are a helpful, honest assistant.", "You are an expert.", "Respond politely.", "You are Berth's starter model.", "Keep your answers short.", "You are a helpful assistant that can use tools.", "Help the user.",
]


def draw(rng, weights=WEIGHTS) -> Example:
    """An example that may be trained on."""
    while True:
        example = KINDS[rng.choices(list(weights), weights.values())[0]](rng)
        if not held_out(example):
            return example


def conversation(rng, weights=WEIGHTS, turns_max=3):
    """Messages and tools of one training conversation: an example, often with other turns before it, a system prompt, or tools it does not need."""
    if rng.random() < 0.02:
        return plain_story(rng), []
    example = draw(rng, weights)
    messages, tools = example.messages, example.tools
    if example.mixes:
        if rng.random() < 0.35:
            for _ in range(rng.randint(1, turns_max)):
                more = draw(rng, weights)
                if more.mixes and more.messages[0]["role"] == "user":
                    messages = messages + more.messages
        # Sums and capitals would be a calculator's or an atlas's to answer, so those examples stay without tools.
        calculable = re.search(r"\d|capital|weather|time|date|day|year|joke|file|user", " ".join(m["content"] for m in messages).lower())
        if rng.random() < 0.15 and not calculable:
            tools = offer(rng)
    elif example.kind in ("tool_call", "tool_answer", "no_tool") and rng.random() < 0.2:
        messages = usable(rng, rng.choice((greeting, identity, berth, world))) + messages
    if messages[0]["role"] != "system" and rng.random() < 0.3:
        system = rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.85 else " ".join([rng.choice(SYSTEM_PROMPTS), *(noun(rng) for _ in range(rng.randint(1, 30)))]) + "."
        messages = [{"role": "system", "content": system}, *messages]
    return messages, tools


def unneeded_tools(rng) -> Example:
    """A plain question although tools are offered: the test for `no call when none is needed`."""
    while True:
        example = rng.choice((greeting, identity, berth, world))(rng)
        if held_out(example) and example.messages[0]["role"] == "user":
            return Example("tools_unneeded", example.key, example.messages, example.expect, offer(rng))


def test_set(per_kind=40, seed=1):
    """The held-out questions, as many of each kind, without repetition."""
    found = {}
    for name, kind in {**KINDS, "tools_unneeded": unneeded_tools}.items():
        rng = random.Random(f"{seed} {name}")
        for _ in range(20_000):
            example = kind(rng)
            if held_out(example) or kind is unneeded_tools:
                rows = found.setdefault(example.kind, {})
                if len(rows) < per_kind:
                    rows.setdefault(example.key, example)
    return [example for rows in found.values() for example in rows.values()]


def as_row(example: Example) -> dict:
    row = {"kind": example.kind, "messages": example.messages[:-1]}
    if example.tools:
        row["tools"] = example.tools
    return {**row, "expect": example.expect}
