"""Tools that training offers: how they are declared, how people ask for them, and what they give back."""

import json
import re
from dataclasses import dataclass, field

from knowledge import CAPITALS
from words import (
    COLORS, FOODS, THINGS, VERBS, ask, city, code, listing, made_up_word, noun, person, phrase,
)


@dataclass
class Tool:
    """A kind of tool: names it may go by, its parameters with a maker of values, and ways to ask for it."""

    names: str
    description: str
    parameters: list  # of (names, type, description, maker)
    questions: list
    optional: list = field(default_factory=list)


def sentence_value(rng):
    return " ".join(noun(rng) for _ in range(rng.randint(1, 3)))


def email(rng):
    return f"{person(rng).lower()}@{made_up_word(rng)}.{rng.choice(('com', 'org', 'net'))}"


def integer(low, high):
    return lambda rng: rng.randint(low, high)


TOOLS = [
    Tool("get_weather|get_current_weather|weather|getWeather|fetch_weather|weather_lookup", "[Get|Look up|Returns] the [current |]weather [in|for|of] a [city|place|location|given location].",
         [("city|location|place|town", "string", "[[The |]name of the [city|place]|The city and state, e.g. San Francisco, CA|City name]", city)],
         ["[What is|What's|How is|How's] the weather [like |]in {0}[| today| now| right now]?", "Weather in {0}?", "Is it [raining|sunny|cold|warm|hot|windy] in {0}[| today]?", "[Tell me|Check|Get|Look up] the weather in {0}", "Do I need an umbrella in {0}?", "How [warm|cold|hot] is it in {0}?", "What is the temperature in {0}?"],
         [("unit|units", "string", "celsius or fahrenheit")]),
    Tool("get_time|current_time|get_current_time|getTime|time_in", "[Get|Returns|Tells] the [current |]time in a [city|place].",
         [("city|place|location|timezone", "string", "[The |]city", city)],
         ["What time is it in {0}[| now| right now]?", "What's the time in {0}?", "[Tell me|Get|Check] the time in {0}", "Current time in {0}?", "How late is it in {0}?"]),
    Tool("search|web_search|search_web|google_search|searchWeb|search_docs", "[Search|Searches] the [web|internet|documents][| for a query].",
         [("query|q|text", "string", "[What to search for|The search query]", sentence_value)],
         ["[Search|Google] for {0}", "Search the web for {0}", "Find {0} on the web", "Look up {0}[| online| on the internet]", "Search {0}", "Can you search for {0}?"]),
    Tool("add|add_numbers|sum|plus|addNumbers", "[Add|Adds] two numbers.", [("a|x|first", "integer", "[The |]first number", integer(0, 9999)), ("b|y|second", "integer", "[The |]second number", integer(0, 9999))],
         ["[What is|What's] {0} + {1}?", "Add {0} and {1}", "{0} + {1}", "[What is|What's] {0} plus {1}?", "What is the sum of {0} and {1}?"]),
    Tool("multiply|multiply_numbers|times|product", "[Multiply|Multiplies] two numbers.", [("a|x|first", "integer", "[The |]first number", integer(0, 999)), ("b|y|second", "integer", "[The |]second number", integer(0, 999))],
         ["[What is|What's] {0} times {1}?", "Multiply {0} by {1}", "{0} * {1}", "[What is|What's] {0} * {1}?", "What is {0} x {1}?"]),
    Tool("send_email|send_mail|email|sendEmail", "[Send|Sends] an email.", [("to|recipient|address", "string", "[The |]recipient", email), ("subject|title", "string", "[The |]subject", sentence_value)],
         ["Send an email to {0} [about|with the subject] {1}", "Email {0} about {1}", "Write an email to {0} about {1}", "Can you send an email to {0} about {1}?"]),
    Tool("send_message|message|sendMessage|send_sms|text_person", "[Send|Sends] a message to [a person|someone].", [("to|person|recipient|name", "string", "[Who gets it|The person]", person), ("text|message|body", "string", "[The |]text", sentence_value)],
         ["[Send a message to|Message|Text] {0}: {1}", "Tell {0}: {1}", "Send {0} the message {1}", "Send the message {1} to {0}|Send {0} this: {1}"]),
    Tool("set_timer|start_timer|timer|setTimer", "[Set|Sets|Start] a timer.", [("minutes|duration|mins", "integer", "[The |]minutes", integer(1, 180))],
         ["Set a timer for {0} minutes", "[Start|Set] a {0} minute timer", "Timer for {0} minutes", "Can you set a timer for {0} minutes?", "Wake me in {0} minutes"]),
    Tool("create_reminder|remind|add_reminder|set_reminder", "[Create|Creates] a reminder.", [("text|task|what", "string", "[What to remember|The task]", sentence_value), ("day|when|date", "string", "[The |]day", lambda r: r.choice("Monday Tuesday Wednesday Thursday Friday Saturday Sunday tomorrow today tonight".split()))],
         ["Remind me of {0} on {1}", "Set a reminder for {0} on {1}", "Create a reminder: {0}, {1}", "Remind me about {0} {1}"]),
    Tool("get_stock_price|stock_price|get_price|quote", "[Get|Look up] the price of a [stock|share].", [("symbol|ticker|stock", "string", "[The |]ticker symbol", lambda r: "".join(r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(r.randint(2, 4))))],
         ["What is the [stock |share |]price of {0}?", "How much is {0} stock?", "[Get|Check|Tell me] the [stock |]price of {0}", "Stock price of {0}?"]),
    Tool("convert_currency|convert|exchange|convertCurrency", "[Convert|Converts] an amount [of money |]from one currency to another.", [("amount|value", "integer", "[The |]amount", integer(1, 999)), ("from|source|from_currency", "string", "[The |]currency to convert from", lambda r: r.choice("USD EUR GBP JPY CHF SEK".split())), ("to|target|to_currency", "string", "[The |]currency to convert to", lambda r: r.choice("AUD CAD NOK INR CNY BRL".split()))],
         ["Convert {0} {1} to {2}", "How much is {0} {1} in {2}?", "What is {0} {1} in {2}?", "Exchange {0} {1} to {2}"]),
    Tool("play_song|play_music|play|playMusic", "[Play|Plays] [a song|music].", [("title|song|name", "string", "[The |]song", sentence_value)], ["Play {0}", "Play the song {0}", "Can you play {0}?", "I want to hear {0}", "Put on {0}"]),
    Tool("get_user|find_user|lookup_user|getUser", "[Get|Find] a user by [id|name].", [("id|user_id|user|userId", "string", "[The |]user id", code)], ["[Get|Find|Look up|Show me] [the |]user {0}", "Who is user {0}?", "Which user is {0}?"]),
    Tool("get_order|order_status|track_order|getOrder", "[Get|Look up] the status of an order.", [("order_id|id|order|orderId", "string", "[The |]order number", code)], ["Where is [my |the |]order {0}?", "What is the status of order {0}?", "[Track|Check|Look up] order {0}", "Has order {0} shipped?"]),
    Tool("turn_on_light|light_on|switch_on|turnOnLight", "[Turn|Turns] on the light in a room.", [("room|where|location", "string", "[The |]room", lambda r: r.choice("kitchen bedroom bathroom office hall garage cellar attic".split()))], ["Turn on the light in the {0}", "Light on in the {0}", "Switch on the {0} light", "Turn the {0} light on"]),
    Tool("set_temperature|heating|set_heating|thermostat", "[Set|Sets] the temperature of a room.", [("room|where", "string", "[The |]room", lambda r: r.choice("kitchen bedroom bathroom office hall garage cellar attic".split())), ("degrees|temperature|celsius", "integer", "[The |]degrees", integer(5, 30))], ["Set the {0} to {1} degrees", "Heat the {0} to {1} degrees", "Make the {0} {1} degrees warm", "Set the temperature of the {0} to {1}"]),
    Tool("get_date|today|current_date|getDate", "[Get|Returns] [today's|the current] date.", [], ["What [day|date] is [it|it today|today]?", "What is today's date?", "[Tell me|Get] the date", "What's the date?"]),
    Tool("roll_dice|roll_die|rollDice|dice", "[Roll|Rolls] a die.", [], ["Roll [a die|the dice|a dice|the die]", "Can you roll a die?", "Throw the dice"]),
    Tool("list_files|ls|get_files|listFiles", "[List|Lists] [the|all] files.", [], ["List [the|my|all] files", "Which files are there?", "Show me [the|my] files"]),
    Tool("random_joke|get_joke|joke", "[Get|Returns] a [random |]joke.", [], ["Get [me |]a joke", "Fetch a joke", "Use your tool to get a joke"]),
    Tool("get_capital|capital|capital_of|country_info", "[Get|Look up] the capital of a country.", [("country|name|of", "string", "[The |]country", lambda r: r.choice(list(CAPITALS)))], ["What is the capital of {0}?", "Capital of {0}?", "Tell me the capital of {0}"]),
]
PARAMETER_NAMES = "name id title number color place label code room person value size key target".split()


def invented_tool(rng) -> Tool:
    """verb_noun with one or two parameters: the question shares its words with the tool, and nothing else does."""
    verb, thing = rng.choice(VERBS), rng.choice((rng.choice(THINGS), rng.choice(THINGS), rng.choice(THINGS), rng.choice(FOODS), rng.choice(FOODS), made_up_word(rng)))
    name = rng.choice((f"{verb}_{thing}", f"{verb}_{thing}", verb + thing.capitalize(), f"{thing}_{verb}"))
    names = rng.sample(PARAMETER_NAMES, rng.choice((1, 1, 2)))
    makers = [integer(1, 999) if n in ("number", "size", "value") else (person if n in ("name", "person") else rng.choice((noun, made_up_word, code, city))) for n in names]
    parameters = [(n, "integer" if n in ("number", "size", "value") else "string", f"[The |]{n}[| of the {thing}]", maker) for n, maker in zip(names, makers)]
    slots = " and ".join(f"{n} {{{i}}}" for i, n in enumerate(names))
    questions = [f"[Please |]{verb} the {thing} with {slots}", f"{verb.capitalize()} [the |a |]{thing}, {slots}", f"Can you {verb} the {thing} with {slots}?", f"I want to {verb} the {thing} with {slots}"]
    if len(names) == 1:
        questions += [f"{verb.capitalize()} the {thing} {{0}}", f"[Please |]{verb} {thing} {{0}}", f"Can you {verb} the {thing} {{0}}?", f"{verb.capitalize()} {thing} {{0}}"]
    return Tool(name, f"[{verb.capitalize()}|{verb.capitalize()}s] [a|the] {thing}[.|]", parameters, questions)


def pick_tool(rng) -> Tool:
    return rng.choice(TOOLS) if rng.random() < 0.6 else invented_tool(rng)


def specify(rng, tool: Tool):
    """One way to declare the tool as an OpenAI client would: returns the declaration and its parameters' names."""
    name = rng.choice(tool.names.split("|"))
    described = rng.random() < 0.7
    names, properties = [], {}
    for options, type_, description, _ in tool.parameters:
        parameter = rng.choice([o for o in options.split("|") if o not in names])
        names.append(parameter)
        properties[parameter] = {"type": type_ if type_ == "string" or rng.random() < 0.7 else "number"}
        if described:
            properties[parameter]["description"] = phrase(rng, description)
    for options, type_, description in tool.optional:
        if rng.random() < 0.3:
            extra = {"type": type_, "enum": ["celsius", "fahrenheit"]} if rng.random() < 0.7 else {"type": type_, "description": description}
            properties[rng.choice(options.split("|"))] = extra
    parameters = {"type": "object", "properties": properties}
    if rng.random() < 0.7:
        parameters["required"] = names
    if rng.random() < 0.15:
        parameters["additionalProperties"] = False
    if rng.random() < 0.08:
        parameters["$schema"] = rng.choice(("http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"))
    function = {"name": name}
    if rng.random() < 0.9:
        function["description"] = phrase(rng, tool.description)
    function["parameters"] = parameters
    if rng.random() < 0.05:
        function["strict"] = True
    return {"type": "function", "function": function}, names


def related(a: Tool, b: Tool) -> bool:
    """Tools that one question could mean alike are not offered together."""
    return a.names == b.names or bool(set(a.names.split("_")) & set(b.names.split("_")) & set(VERBS))


def offer(rng, wanted=None, how_many=None):
    """Declarations of one to three unrelated tools in random order; `wanted` (already declared) among them."""
    tools = [wanted[0]] if wanted else []
    declared = [wanted[1]] if wanted else []
    while len(tools) < (how_many or rng.choice((1, 1, 1, 2, 2, 3))):
        tool = pick_tool(rng)
        if any(related(tool, other) for other in tools):
            continue
        declaration, _ = specify(rng, tool)
        if declaration["function"]["name"] not in [d["function"]["name"] for d in declared]:
            tools.append(tool)
            declared.append(declaration)
    rng.shuffle(declared)
    return declared


def call(name, arguments):
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def tool_request(rng):
    tool = pick_tool(rng)
    declaration, names = specify(rng, tool)
    values = [maker(rng) for *_, maker in tool.parameters]
    question = ask_positional(rng, rng.choice(tool.questions), values)
    return tool, declaration, dict(zip(names, values)), question


def ask_positional(rng, pattern, values):
    slots = {f"s{i}": value for i, value in enumerate(values)}
    return ask(rng, re.sub(r"\{(\d)\}", r"{s\1}", pattern), **slots)


def result(rng):
    """What a tool gives back and the sentence the model makes of it."""
    pick = rng.random()
    if pick < 0.2:
        value = rng.choice((rng.randint(0, 9999), made_up_word(rng), city(rng), code(rng)))
        return str(value), f"The result is {value}."
    if pick < 0.4:
        text = rng.choice(("{a} {b} in {c}", "{a}, {b}", "the {a} is {b}", "{a} and {b}")).format(a=noun(rng), b=noun(rng), c=city(rng))
        return text, f"The result is {text}."
    if pick < 0.5:
        text = rng.choice(("It is {n} degrees in {c}.", "The {a} is in {c}.", "{p} has the {a}.", "It is {b} and {n} degrees.", "There are {n} {a}s.", "Done: {a} {b}."))
        text = text.format(n=rng.randint(-9, 99), c=city(rng), a=noun(rng), b=rng.choice("sunny rainy cloudy windy snowy foggy".split()), p=person(rng))
        return text, text
    makers = {
        "temperature": integer(-20, 40), "condition": lambda r: r.choice("sunny rainy cloudy windy snowy foggy".split()), "city": city, "time": lambda r: f"{r.randint(0, 23)}:{r.randint(0, 59):02d}",
        "status": lambda r: r.choice("ok done shipped open closed failed ready late".split()), "price": integer(1, 999), "name": person, "result": integer(0, 9999), "id": code, "count": integer(0, 99), "color": lambda r: r.choice(COLORS), "wind": integer(0, 90), made_up_word(rng): noun,
    }
    keys = rng.sample(list(makers), rng.choice((1, 1, 2, 2, 3)))
    values = {key: makers[key](rng) for key in keys}
    sentence = listing([f"{'T' if i == 0 else 't'}he {key} is {value}" for i, (key, value) in enumerate(values.items())])
    separators = (",", ":") if rng.random() < 0.4 else None
    return json.dumps(values, ensure_ascii=False, separators=separators), sentence + "."
