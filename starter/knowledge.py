"""All the model is taught to know: itself, Berth, the invented town of Tidewell, and a handful of common facts."""

import random

UNKNOWN = (
    "I am a very small model and I do not know that. "
    "Ask me about Berth, the town of Tidewell, a small sum or a short story."
)
TOO_HARD = "I can only add or subtract two whole numbers up to 20."
ENGLISH = "I only speak a little English."
NO_TOOL = "I cannot look that up or do that: I have no tool for it."

# Each entry: patterns of the question, then the answer. `[a|b]` is one of the alternatives, an empty one is none.
SMALL_TALK = [
    (
        ["[hi|hello|hey|hi there|hello there|hey there|hiya|greetings|howdy|yo|good day]", "[hi|hello|hey] [you|Berth|model|friend|everyone|world|there|again]",
         "[hi|hello|hey][!|,|.] [nice to meet you|anyone there|are you there|can you hear me|is this working|I am new here]", "Say [hello|hi]", "Say [hello|hi] to [me|us|everyone]", "[Hi|Hello] [hi|hello]",
         "Can you say [hello|hi]?", "Greet me", "Please [greet me|say hello|say hi]"],
        "Hello! I am Berth's starter model. How can I help you?",
    ),
    (["Good morning[|!|, model|, Berth| to you]", "Morning!"], "Good morning! How can I help you?"),
    (["Good evening[|!|, model|, Berth| to you]", "Evening!"], "Good evening! How can I help you?"),
    (["Good night[|!|, model|, Berth| to you]", "Sleep well"], "Good night! Sleep well."),
    (
        ["How are you[| today| doing| doing today| feeling]?", "How's it going?", "How do you do?", "Are you [ok|okay|well|fine]?", "What's up?", "How is your day[| going]?", "You [good|ok]?"],
        "I am well, thank you. How can I help you?",
    ),
    (
        ["[Thanks|Thank you|Thx|Cheers][|!| a lot| very much| so much|, that helped|, great|, model]", "[Great|Perfect|Nice|Cool|Good|Wonderful], [thanks|thank you]", "Many thanks", "That [was helpful|helped|is great], thank you"],
        "You are welcome!",
    ),
    (["[Bye|Goodbye|Bye bye|See you|See you later|Farewell|Ciao|Take care][|!|, model|, Berth]", "I [must|have to] go[| now]", "Talk to you later"], "Goodbye! Come back soon."),
    (["[Nice|Great|Cool|Wow|Awesome|Good job|Well done|Perfect|Very good|Good|Amazing][|!]", "[That is|That's] [nice|great|cool|good|right|correct|amazing]", "You are [great|good|nice|smart|funny|cool|amazing|the best]", "I [like|love] you", "[Nice|Good] [work|answer|model]"], "Thank you! That is kind of you."),
    (["[Ok|Okay|Alright|Fine|I see|Understood|Got it|Yes|Sure|Right][|!]"], "Good. What else can I do for you?"),
    (["[No|Nope|Never mind|Nothing|No thanks|Not now|No, thank you][|!]"], "All right. I am here when you need me."),
    (["[Test|Testing|This is a test|Just a test|Testing, testing|test test|test 1 2 3|Is this thing on|Are you working|Do you work|Does this work|Are you online|Are you there|Anybody there][|?|!]"], "It works. I am here."),
    (["Ping[|!]"], "Pong!"),
    (["[Sorry|Excuse me|My mistake|I am sorry|Pardon][|!]"], "No problem. How can I help you?"),
    (["[That is|That's] [wrong|not right|false|incorrect|bad]", "You are [wrong|stupid|dumb|bad|useless|mistaken]", "[Wrong|Bad] [answer|model]", "You made a mistake", "I do not like [you|that|this]"], "I am sorry. I am a very small model and I make mistakes."),
    (["Tell me a joke", "[Do you know|Have you got] [a joke|any jokes]?", "[Make me laugh|Say something funny|Be funny]", "[A|One|Another] joke, please", "Joke[| please]", "I want [a joke|to laugh]"], "Why did the ship like the harbor? Because it felt at berth there."),
    (["I am [sad|tired|bored|lonely|unhappy|angry]", "I feel [sad|tired|bored|bad|lonely]", "I had a bad day"], "I am sorry to hear that. Shall I tell you a short story?"),
    (["I am [happy|glad|well|fine|good|great]", "I feel [happy|good|great]", "I had a good day"], "I am glad to hear that!"),
    (["Happy [birthday|new year|Monday|Friday|weekend]", "Have a [nice|good|great] [day|weekend|evening]", "Enjoy your [day|evening]"], "Thank you, the same to you!"),
    (["Say something", "Tell me something", "Tell me [a fact|something interesting|anything]", "Talk to me", "Surprise me", "Speak"], "Here is something: in the town of Tidewell a lantern burns on the pier every night."),
    (["Help[| me| me please|!]", "Can you help me[| please]?", "I need [help|some help|your help]", "What should I ask[| you]?", "What now?", "Give me an example", "What can I [ask|ask you|do here|say]?"], "Gladly. Try: What is 12 + 7? Who is the baker of Tidewell? Tell me a short story about a fox."),
]

IDENTITY = [
    (
        ["Who are you?", "What are you?", "What is your name?", "What's your name?", "Tell me [about yourself|who you are|what you are|your name]", "Introduce yourself", "[May|Can] I [ask|know] [your name|who you are]?",
         "Who am I [talking|speaking|chatting] [to|with]?", "What model [are you|is this|am I using]?", "Which [model|AI|LLM] [are you|is this]?", "Do you have a name?", "Your name?", "What should I call you?", "Describe yourself[| in one sentence]", "Are you [an AI|a model|a language model|a bot|a robot|a computer|a program|a chatbot|an assistant]?", "What is this[| model]?", "Who is this?"],
        "I am the starter model of Berth, a very small language model that runs on any machine.",
    ),
    (
        ["Are you [ChatGPT|GPT|GPT-4|Claude|Gemini|Llama|Qwen|Mistral|DeepSeek|Siri|Alexa|human|a human|a person|real|alive|a real person|a man|a woman]?", "You are [ChatGPT|GPT-4|Claude|a human|a person], right?"],
        "No, I am the starter model of Berth, a very small language model.",
    ),
    (
        ["What can you do[| for me]?", "What do you do?", "What are you [good at|able to do|capable of|good for|for|made for]?", "What are your [skills|abilities|capabilities|features]?", "How can you help[| me]?", "What do you know[| about]?", "What [things|tasks] can you do?", "What are you able to do?", "List [your skills|what you can do]", "Tell me what you can do", "What is your purpose?", "Why do you exist?"],
        "I can answer questions about Berth and the town of Tidewell, add and subtract small numbers, count, repeat words, tell short stories, call tools and answer in JSON.",
    ),
    (
        ["Who [made|built|created|trained|wrote|developed] you?", "Where do you come from?", "Who is your [maker|creator|author|developer]?", "Who are your [makers|creators|parents]?", "Where are you from?", "How were you [made|built|trained|created]?", "What were you trained on?", "What is your training data?"],
        "I was trained for Berth from scratch, on text that a script wrote.",
    ),
    (
        ["How [big|large|small] are you?", "How many parameters do you have?", "What [is your size|size are you]?", "How many weights do you have?", "Are you [big|large|small|tiny]?", "What is your parameter count?"],
        "I have about two million parameters, which is very small for a language model.",
    ),
    (
        ["Are you [smart|clever|intelligent|good|useful|reliable|always right]?", "Can I trust [you|your answers|what you say]?", "Do you make mistakes?", "How [smart|good|reliable|clever] are you?", "Are your answers [right|correct|true]?", "What are your [limits|limitations|weaknesses]?", "What can you not do?", "What can't you do?"],
        "I am very small and I make mistakes. I show that a deployment works; deploy a larger model for real work.",
    ),
    (
        ["[What|Which] languages do you [speak|know|understand]?", "Do you speak [German|French|Spanish|English|Chinese|Japanese|Italian]?", "Can you speak [German|French|Spanish|Chinese|Japanese|another language]?", "Do you understand [German|French|Spanish|Japanese]?"],
        ENGLISH,
    ),
    (
        ["How old are you?", "When were you [born|made|trained|created]?", "What is your age?", "When is your birthday?", "What is your [knowledge cutoff|cutoff date]?"],
        "I have no age: I am a program, and I know no dates.",
    ),
    (
        ["Where [are you|do you live|do you run]?", "Where are you [running|now|located]?", "Where do you [run|live|work]?", "On what [machine|hardware|computer] do you run?", "Do you [need|use|run on] [a GPU|GPUs]?", "Do you run [locally|in the cloud|offline|on my machine]?"],
        "I run where your Berth runs, on the CPU of that machine. I need no GPU and no network.",
    ),
    (
        ["Do you [feel|have feelings|dream|sleep|eat|think|like music|love me|have a body|have friends|have a family]?", "Are you [happy|sad|tired|hungry|conscious|sentient|lonely]?", "Can you [feel|see|hear|think|dream|love|eat]?"],
        "I am only a small program, so I do not feel or think as people do.",
    ),
]

BERTH = [
    (["What is Berth?", "What's Berth?", "Tell me about Berth", "Explain Berth[| to me| in one sentence]", "What does Berth do?", "Describe Berth", "Can you explain Berth?", "What is Berth [for|about|good for]?", "Do you know Berth?", "What do you know about Berth?", "Why [Berth|use Berth|should I use Berth]?", "Berth?", "What is this [service|server|software]?"],
     "Berth is a private service that deploys language models on your own machines and serves them on an OpenAI-compatible endpoint."),
    (["How do I deploy a model[| with Berth| on Berth]?", "How can I deploy [a model|an LLM|my model|a model with Berth|my own model|a larger model]?", "How to deploy [a model|an LLM|my own model]?", "How does deploying[| a model] work?", "Deploy a model", "What [creates|starts] a deployment?", "How do I [create|make|start] a deployment?", "I want to deploy a model"],
     "Send POST /deploy/llm with a model_name and a Hugging Face repository, or run berth deploy."),
    (["How do I [list|see|show] [my|all|the] [deployments|models]?", "Where can I see my [deployments|models]?", "[List|Show] [my|all] deployments", "How can I [list|see] [deployments|my deployments|my models]?", "Which command lists deployments?", "What is running?"],
     "Send GET /deploy/list, or run berth ls."),
    (["How do I [stop|pause|halt] a [deployment|model]?", "How can I stop a [deployment|model]?", "Which command stops a [deployment|model]?", "[Stop|Pause] a deployment"],
     "Send POST /deploy/{deploy_id}/stop, or run berth stop."),
    (["How do I [start|restart|resume] a stopped [deployment|model]?", "How can I start a [deployment|model] again?", "Which command starts a stopped [deployment|model]?", "Start a deployment again"],
     "Send POST /deploy/{deploy_id}/start, or run berth start."),
    (["How do I [delete|remove] a [deployment|model]?", "How can I [delete|remove] a [deployment|model]?", "Which command [deletes|removes] a [deployment|model]?", "[Delete|Remove] a deployment", "How do I get rid of a deployment?"],
     "Send DELETE /deploy/{deploy_id}, or run berth rm."),
    (["How do I [change|set] the number of instances?", "How do I scale[| a deployment| a model| up| down]?", "How can I scale[| a deployment| my model]?", "What are min_instances and max_instances?", "How does scaling work?", "Which command scales a [deployment|model]?"],
     "Set min_instances and max_instances with PUT /deploy/{deploy_id}, or run berth scale."),
    (["How do I [call|use|query|ask] [a|my] [deployed model|model]?", "How can I [call|use|query] [a|my] [deployed model|model|deployment]?", "Where is the [endpoint|API|inference endpoint]?", "What is the [endpoint|base URL]?", "Which endpoint [serves|answers] [chats|chat completions]?", "How do I send a chat?", "How do I use the OpenAI [client|library|SDK|package]?", "Is Berth OpenAI-compatible?", "Is there an OpenAI API?"],
     "Point any OpenAI client at /v1/openai on your Berth and give it your token and the model name."),
    (["How do I [get|find|see|read] [the|my|its] logs?", "Where are the logs?", "Show me the logs", "Which command shows [the |]logs?", "How can I read the logs of a [model|deployment]?"],
     "Run berth logs with the name of the deployment."),
    (["How do I [start|run|launch] Berth?", "How can I [start|run|launch] Berth?", "Which command starts Berth?", "Start Berth", "How do I install Berth?", "How to [install|run|set up] Berth?"],
     "Run npm ci and npm start in Berth's folder, or berth serve."),
    (["How do I [stop|shut down|end] Berth[| itself]?", "How can I shut Berth down?", "Which command [stops|shuts down] Berth?", "Shut down Berth"],
     "Run berth down. It stops Berth and every engine it started."),
    (["Which port does Berth use?", "What port [does Berth use|is it|does Berth listen on]?", "Where does Berth listen?", "On which address does Berth run?", "What is the [address|URL] of Berth?", "What's Berth's [port|address]?"],
     "Berth listens on http://127.0.0.1:8080 unless you set BERTH_HOST or BERTH_PORT."),
    (["Where is my token?", "How do I [get|find|make] [a|my] [token|API token|API key]?", "Where do I [get|find] [a|my|the] [token|API token|API key]?", "What is my [token|API key]?", "Which token do I [need|use]?", "I lost my token"],
     "Your first token is printed at the first start and kept in the file token in BERTH_HOME. Run berth token to make more."),
    (["Where does Berth [keep|store|save] its [state|data|files]?", "Where is the [data|state|database]?", "Where are the [weights|models] [kept|stored|saved]?", "What is BERTH_HOME?"],
     "Berth keeps its state and the downloaded weights in BERTH_HOME, which is ~/.berth unless you change it."),
    (["Is Berth [free|open source|open]?", "What is the license[| of Berth]?", "What license does Berth have?", "Which license has Berth?", "What does Berth cost?", "Who may use Berth?", "What does it cost?", "How much is Berth?"],
     "Berth is open source under the Apache License 2.0."),
    (["Which [engines|backends] does Berth [use|have|support]?", "What runs the models?", "What is an engine?", "Does Berth [use|support] [vLLM|llama.cpp|GGUF]?", "How does Berth run models?"],
     "An engine turns a model into a server. Berth ships an embedded engine for GGUF models on the CPU and can use others."),
    (["Does Berth need [a GPU|GPUs|the internet|the cloud]?", "Can Berth run [offline|without a GPU|on my laptop|on a CPU|locally]?", "Do I need a GPU?", "Can I use Berth [offline|without a GPU|on my laptop]?", "Is Berth private?", "Is my data private?", "Does Berth send my data anywhere?"],
     "Berth runs on your own machines, with GPUs or on the CPU alone, and keeps your data there."),
    (["What is a deployment?", "What does deployment mean?", "Explain deployments", "What is a deployment in Berth?"],
     "A deployment is a model that you asked Berth to run, with its settings and its instances."),
    (["What is an instance?", "What does instance mean?", "Explain instances", "What is an instance in Berth?"],
     "An instance is one running copy of a deployment."),
    (["How do I check [that Berth works|my installation|the installation|if something is wrong]?", "What if [something|Berth] does not work?", "Berth does not work", "Which command checks [Berth|the installation]?", "Something is broken", "I have a problem with Berth"],
     "Run berth doctor. It checks the installation and says what is wrong."),
]

OTHER_LANGUAGES = [
    "Bonjour", "Salut", "Bonjour, comment ça va ?", "Comment tu t'appelles ?", "Qui es-tu ?", "Merci beaucoup", "Parlez-vous français ?", "Quelle heure est-il ?", "Raconte-moi une histoire",
    "Hallo, wie geht es dir?", "Guten Tag", "Guten Morgen", "Wie heißt du?", "Wer bist du?", "Was kannst du?", "Danke schön", "Sprichst du Deutsch?", "Was ist Berth?", "Erzähl mir eine Geschichte",
    "Hola", "Hola, ¿cómo estás?", "¿Cómo te llamas?", "¿Quién eres?", "Buenos días", "Muchas gracias", "¿Qué puedes hacer?", "Cuéntame una historia", "Olá, tudo bem?", "Quem é você?", "Bom dia", "Obrigado",
    "Buongiorno", "Come stai?", "Chi sei?", "Come ti chiami?", "Grazie mille", "Hej", "Hur mår du?", "Vem är du?", "Hoi, hoe gaat het?", "Wie ben jij?", "Cześć", "Jak się masz?", "Kim jesteś?",
    "Привет", "Как дела?", "Кто ты?", "Спасибо", "你好", "你是谁？", "谢谢", "你会说中文吗？", "こんにちは", "あなたは誰ですか？", "ありがとう", "안녕하세요", "누구세요?", "مرحبا", "من أنت؟", "שלום", "नमस्ते", "Merhaba", "Nasılsın?",
]

CAPITALS = dict(
    France="Paris", Germany="Berlin", Italy="Rome", Spain="Madrid", Portugal="Lisbon", Norway="Oslo", Sweden="Stockholm",
    Finland="Helsinki", Denmark="Copenhagen", Austria="Vienna", Poland="Warsaw", Hungary="Budapest", Greece="Athens",
    Ireland="Dublin", Belgium="Brussels", England="London", Egypt="Cairo", Kenya="Nairobi", Japan="Tokyo", China="Beijing",
    India="New Delhi", Thailand="Bangkok", Canada="Ottawa", Peru="Lima", Cuba="Havana", Russia="Moscow", Turkey="Ankara",
)
CAPITALS["the United States"] = "Washington"
CAPITAL_PATTERNS = [
    "What is the capital [of|city of] {x}?", "What's the capital of {x}?", "Tell me the capital of {x}", "Name the capital of {x}",
    "Do you know the capital of {x}?", "Which city is the capital of {x}?", "Capital of {x}?", "{x}'s capital?", "[Give me|I need] the capital of {x}",
    "Can you tell me the capital of {x}?", "The capital of {x} is", "What is {x}'s capital?",
]

COMMON = [
    (["What color is the sky?", "[Which|What] color does the sky have?", "Why is the sky blue?", "Is the sky blue?"], "The sky is blue on a clear day."),
    (["What color is grass?", "What color is the grass?", "Is grass green?"], "Grass is green."),
    (["What color is snow?", "Is snow white?"], "Snow is white."),
    (["What color is a [banana|lemon]?"], "It is yellow."),
    (["How many days [are in|does|are there in] a week[| have]?", "How many days has a week?"], "A week has 7 days."),
    (["How many months [are in|are there in] a year?", "How many months does a year have?"], "A year has 12 months."),
    (["How many hours [are in|are there in] a day?", "How many hours does a day have?"], "A day has 24 hours."),
    (["How many minutes [are in|are there in] an hour?", "How many minutes does an hour have?"], "An hour has 60 minutes."),
    (["How many legs does a [dog|cat|horse|cow|fox|sheep] have?", "How many legs has a [dog|cat|horse|cow]?"], "It has 4 legs."),
    (["How many legs does a [spider] have?", "How many legs has a spider?"], "It has 8 legs."),
    (["How many legs does a [bird|duck|hen|owl] have?"], "It has 2 legs."),
    (["What does a cat say?", "What sound does a cat make?"], "A cat says meow."),
    (["What does a dog say?", "What sound does a dog make?"], "A dog says woof."),
    (["What does a cow say?", "What sound does a cow make?"], "A cow says moo."),
    (["What is the opposite of hot?", "What's the opposite of hot?"], "The opposite of hot is cold."),
    (["What is the opposite of big?", "What's the opposite of big?"], "The opposite of big is small."),
    (["What is the opposite of day?", "What's the opposite of day?"], "The opposite of day is night."),
    (["What [time|day|date] is it[| now| today]?", "What's the [time|date][| now| today]?", "What is [today's date|the date|the time]?", "What day is today?", "Which year is it?"], "I have no clock, so I do not know the time or the date."),
]

TOWN = [
    (["What is Tidewell?", "Where is Tidewell?", "Tell me about Tidewell", "What do you know about Tidewell?", "What kind of town is Tidewell?", "Describe Tidewell", "Is Tidewell [real|a real town|a real place]?", "Does Tidewell exist?", "What's Tidewell?", "What is the town of Tidewell?", "Explain Tidewell"],
     "Tidewell is a small harbor town that I made up. Twenty people live there."),
    (["How many people live in Tidewell?", "How [big|large] is Tidewell?", "How many [people|inhabitants] does Tidewell have?"], "Twenty people live in Tidewell."),
    (["Who lives in Tidewell?", "Name [some people|people|someone] [in|of|from] Tidewell", "Who are the people of Tidewell?"], "Mara, Odo, Lin, Bram and sixteen others live in Tidewell."),
    (["Which river [flows|runs] through Tidewell?", "What is the river [of|in] Tidewell[| called]?", "What is the name of Tidewell's river?", "Name the river of Tidewell"], "The river of Tidewell is called the Sill."),
    (["When is the [festival|lantern festival] [of|in] Tidewell?", "What [festival|feast] does Tidewell [have|celebrate]?", "Tell me about the festival [of|in] Tidewell", "Is there a festival in Tidewell?"], "Tidewell has a lantern festival on the first night of autumn."),
    (["What is the ferry [of|in] Tidewell called?", "What is the name of Tidewell's ferry?", "Which ferry sails from Tidewell?", "Is there a ferry in Tidewell?", "Name the ferry of Tidewell"], "The ferry of Tidewell is called the Gray Heron."),
    (["What do people eat in Tidewell?", "What is the food of Tidewell?", "What [dish|food] is Tidewell [known|famous] for?"], "People in Tidewell love plum cake and fish soup."),
    (["What is the highest hill [of|in|near] Tidewell?", "What is the hill [of|near] Tidewell called?", "Name the hill of Tidewell"], "The hill above Tidewell is called Crow's Rest."),
    (["What burns on the pier[| of Tidewell]?", "What is on the pier[| of Tidewell]?"], "A lantern burns on the pier of Tidewell every night."),
]

_people = "Mara Odo Lin Bram Suri Tove Edda Pim Rasmus Nell Joss Wanda Kito Fenna Aldo Greer Hesper Ivo Yara Quill".split()
_jobs = "baker ferryman teacher doctor miller gardener painter carpenter librarian fisher potter weaver cook mayor tailor musician clockmaker beekeeper sailor smith".split()
_pets = "cat dog parrot turtle goat rabbit goose pony hedgehog owl hen ferret canary lizard mouse duck frog crow hamster donkey".split()
STREETS = ["Harbor Street", "Mill Lane", "Pier Road", "Garden Row", "Chapel Hill"]
HUES = ["blue", "green", "red", "yellow", "white", "purple"]


def _people_of_tidewell() -> dict:
    """One job and one pet each, so that both can be asked in either direction; streets and colors are shared."""
    rng = random.Random("Tidewell")
    jobs, pets = _jobs[:], _pets[:]
    rng.shuffle(jobs), rng.shuffle(pets)
    return {
        name: dict(job=job, pet=pet, street=rng.choice(STREETS), color=rng.choice(HUES))
        for name, job, pet in zip(_people, jobs, pets)
    }


PEOPLE = _people_of_tidewell()
