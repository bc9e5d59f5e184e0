# SPDX-License-Identifier: Apache-2.0
"""Lexicons of retrieval tasks in words: the token pieces that runtime/data writes samples with.

A sample's text is put together from pieces of text, its tokens from the pieces' tokens. That both agree, whatever
keys, values and wording are drawn, is checked on random samples before a lexicon is written.

Values do not run out: a number is put together from the tokens of its digits (or of groups of three, where a tokenizer
groups them), a phrase from words, a uuid from its parts. Only where a tokenizer joins them otherwise is a value a whole
entry of a long list. runtime/data divides keys and values into training, selection and evaluation by a hash of their
tokens; the wordings of each of the three are written here.
"""

import os
import random
import re
import string
import uuid

# Names for keys and things for values: common, of one or a few tokens in usual vocabularies, none in both lists.
CITIES = """Amsterdam Athens Austin Baghdad Bangkok Barcelona Beijing Berlin Boston Brussels Budapest Cairo Chicago
Dallas Delhi Denver Dublin Geneva Hamburg Havana Helsinki Houston Istanbul Jakarta Jerusalem Kiev Lagos Lima Lisbon
London Madrid Manchester Manila Melbourne Memphis Miami Milan Montreal Moscow Mumbai Munich Nairobi Naples Nashville
Oslo Oxford Paris Perth Phoenix Portland Prague Rome Seattle Seoul Shanghai Singapore Stockholm Sydney Tehran Tokyo
Toronto Venice Vienna Warsaw""".split()
THINGS = """anchor apple arrow basket beach bird blanket boat book bottle bread bridge brush bucket butter button
candle carpet castle chair cheese cherry circle clock cloud coat coffee copper cotton cream crown desk diamond door
dragon dress drum eagle earth engine feather fence field fire flag flower forest fork fox garden gate glass glove
gold grape hammer harbor hat honey horse house island jacket jewel kettle key kitchen knife ladder lake lamp leaf
lemon letter lion map market meadow melon milk mirror moon mountain needle ocean onion orange orchard oven paint
paper pearl pencil pepper piano pillow pilot planet plate pocket potato queen rabbit radio river road rock roof rope
rose salt sand school ship shoe silver snow soap spoon star stone storm sugar sun table tent tiger tower train tree
valley violin wagon wall wheel window wolf""".split()
NATO = """alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec
romeo sierra tango uniform victor whiskey xray yankee zulu""".split()
ORDINALS = """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth""".split()
NOUNS = {"number": "number", "words": "word", "uuid": "uuid"}
REPEAT = " The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NOISE = " ..."  # The most frequent word of a coded text, which is not asked for.
# Kinds in words; near_keys and induction are in token ids only.
KINDS = ("passkeys", "niah_single", "niah_multi_key", "niah_multi_value", "niah_multi_query", "variable_tracking",
         "mqar", "two_hop", "counting", "common_words", "frequent_words")
VERIFIED_SAMPLES = 24  # of each wording
VERIFIED_VALUES = 256
WHOLE_NUMBERS, WHOLE_UUIDS, WHOLE_KEYS, UUID_PARTS, LEAST_WORDS = 65536, 16384, 8192, 1024, 1024
SLOT = re.compile(r"\{(keys|key|value|source)\}")


class LexiconError(Exception):
    """The task or the tokenizer cannot give a lexicon."""

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


class VerificationError(Exception):
    """Pieces put together are not what the tokenizer makes of the text."""


# The wordings of needles by split: no phrase of one is in another. {thing} is what is hidden, "special magic number",
# in the plural with an s; {is} goes with it. Evaluation has RULER's words.
WORDINGS = {
    "training": [
        {"thing": "access {noun}", "prefix": "Access {noun}s are scattered over the pages below. Keep them in mind.\n\n",
         "one": " The access {noun} of{key} is:{value}.", "many": " The access {noun}s of{key} are:{value}.",
         "link": " The access {noun}{s} of{key} {is} what{source} has, too.",
         "ask": "\n\nWhich {thing} {is} given for{keys}?", "lead": "The {thing} of{key} {is}:"},
        {"thing": "lucky {noun}", "prefix": "Somebody noted lucky {noun}s in this document. Find all of them.\n\n",
         "one": " For{key}, the lucky {noun} is:{value}.", "many": " For{key}, the lucky {noun}s are:{value}.",
         "link": " For{key}, take the lucky {noun}{s} from{source}.",
         "ask": "\n\nTell me the {thing} for{keys}.", "lead": "For{key}, the {thing} {is}:"},
    ],
    "selection": [
        {"thing": "registered {noun}", "prefix": "Read this report; it mentions registered {noun}s here and there.\n\n",
         "one": " The {noun} registered under{key} is:{value}.", "many": " The {noun}s registered under{key} are:{value}.",
         "link": " The entry of{key} refers to that of{source}.",
         "ask": "\n\nAccording to the report, which {thing} {is} listed under{keys}?",
         "lead": "The {thing} under{key} {is}:"},
    ],
    "evaluation": [
        {"thing": "special magic {noun}",
         "prefix": "Special magic {noun}s are hidden within the following text. Remember them.\n\n",
         "one": " One of the special magic {noun}s for{key} is:{value}.",
         "many": " The special magic {noun}s for{key} are:{value}.",
         "link": " The special magic {noun}{s} for{key} {is} the same as for{source}.",
         "ask": "\n\nWhat {is} the {thing} for{keys} in the text above?", "lead": "The {thing} for{key} {is}:"},
    ],
}
PASSKEY_WORDINGS = {
    "training": [
        {"prefix": "A safe opens with several phrases. They stand somewhere in these pages.\n\n",
         "needle": " Write this down, the{key} phrase of the safe is:{value}.",
         "question": "\n\nList the phrases of the safe that were given, in this order:{keys}.",
         "lead": "The{key} phrase of the safe is:"},
        {"prefix": "Agents hid their signals in the report below. Collect all signals.\n\n",
         "needle": " Agents take note: signal number{key} reads:{value}.",
         "question": "\n\nRepeat the signals of the agents with these numbers:{keys}.",
         "lead": "Signal number{key} reads:"},
    ],
    "selection": [
        {"prefix": "Some lines of this letter are codes for the courier. Watch out for them.\n\n",
         "needle": " Courier, the{key} code for your bag is:{value}.",
         "question": "\n\nWhat codes does the courier need, in this order:{keys}?",
         "lead": "The{key} code for the bag is:"},
    ],
    "evaluation": [
        {"prefix": "The passkeys to a vault are hidden within the following text. Remember them.\n\n",
         "needle": " Remember this sequence, it is the{key} passkey to the vault:{value}.",
         "question": "\n\nBased on the text above, what are the passkeys to the vault, in this order:{keys}?",
         "lead": "The{key} passkey to the vault is:"},
    ],
}
TRACKING_WORDINGS = {
    "training": [
        {"prefix": "A program is spread over the pages below. Follow its statements.\n\n",
         "needle": " LET{key} ={value};", "link": " LET{key} = LET{source};",
         "question": "\n\nWhich names hold{value} at the end of the program?", "lead": "Names that hold{value}:"},
        {"prefix": "Notes about cells of a table are mixed into this text.\n\n",
         "needle": " CELL{key} gets{value}.", "link": " CELL{key} gets CELL{source}.",
         "question": "\n\nName each cell that got{value}.", "lead": "Each cell that got{value}:"},
    ],
    "selection": [
        {"prefix": "Somewhere in this letter registers are loaded. Keep track of their contents.\n\n",
         "needle": " LOAD{key} WITH{value}.", "link": " LOAD{key} WITH REGISTER{source}.",
         "question": "\n\nList the registers whose content is{value}.", "lead": "Registers whose content is{value}:"},
    ],
    "evaluation": [
        {"prefix": "Memorize and track the chains of variable assignment hidden in the following text.\n\n",
         "needle": " VAR{key} ={value}.", "link": " VAR{key} = VAR{source}.",
         "question": "\n\nFind all variables that are assigned the value{value} in the text above.",
         "lead": "The variables that are assigned the value{value} are:"},
    ],
}
COUNTING_WORDINGS = {
    "training": [
        {"prefix": "A guest book is spread over the pages below. Count the guests of each city.\n\n",
         "needle": " A guest from{key} signed.", "question": "\n\nHow many guests signed from{keys}?",
         "lead": "Guests from{key}:"},
        {"prefix": "Parcels are noted in this document, each by where it came from. Keep a tally.\n\n",
         "needle": " One parcel came from{key}.", "question": "\n\nState the tally of parcels from{keys}.",
         "lead": "Parcels from{key}:"},
    ],
    "selection": [
        {"prefix": "This letter reports trains as they arrive. Follow the arrivals.\n\n",
         "needle": " The train of{key} arrives.", "question": "\n\nGive the arrivals of trains of{keys}.",
         "lead": "Arrivals of trains of{key}:"},
    ],
    "evaluation": [
        {"prefix": "Special magic letters are hidden within the following text. Count them.\n\n",
         "needle": " A special magic letter came from{key}.",
         "question": "\n\nHow many special magic letters came from{keys} in the text above?",
         "lead": "Special magic letters from{key}:"},
    ],
}
# {count} is how many are asked for. The order of the answers is said: the samples' is the only one.
COMMON_WORDINGS = {
    "training": [
        {"prefix": "Goods were unloaded one by one and noted below. Some came again and again.\n\n",
         "needle": "{value}:{key}", "question": "\n\nWhich {count} goods came the most often? Name them as they came first.",
         "lead": "The {count} goods that came the most often:"},
        {"prefix": "An index has these entries. Watch for those that are repeated most.\n\n",
         "needle": "{value}.{key};", "question": "\n\nGive the {count} entries repeated most, the earliest first.",
         "lead": "Entries repeated most:"},
    ],
    "selection": [
        {"prefix": "Voters wrote these names on their slips. Find out who is ahead.\n\n",
         "needle": "{value}){key}", "question": "\n\nWho are the {count} names ahead, in the order of their first slips?",
         "lead": "The {count} names ahead are:"},
    ],
    "evaluation": [
        {"prefix": "Below is a numbered list of words. In these words, some appear more often than others. Memorize the "
                   "ones that appear most often.\n\n",
         "needle": "{value}.{key}",
         "question": "\n\nWhat are the {count} most common words in the above list, in the order in which they first appear?",
         "lead": "The {count} words that appear most often in the list are:"},
    ],
}
FREQUENT_WORDINGS = {
    "training": [
        {"prefix": "Somebody tapped these signals. Ignore the pauses and note how often each came.\n\n",
         "question": "\n\nWhich {count} signals came the most often? Begin with the one that came most.",
         "lead": "The {count} signals that came the most often:"},
        {"prefix": "This is a log of calls of birds, with silence between them. Keep a tally of the calls.\n\n",
         "question": "\n\nRank the top {count} calls of the log, the most common one first.", "lead": "Top {count} calls:"},
    ],
    "selection": [
        {"prefix": "A machine has printed labels and gaps. Count the labels.\n\n",
         "question": "\n\nOf which {count} labels are there the most, from the largest number down?",
         "lead": "There are the most of these {count} labels:"},
    ],
    "evaluation": [
        {"prefix": "Read the following coded text and track the frequency of each coded word. Find the {count} most "
                   "frequently appeared coded words.\n\n",
         "question": "\n\nPlease ignore the dots. What are the {count} most frequently appeared words in the above coded "
                     "text, in order of falling frequency?",
         "lead": "The {count} most frequently appeared words are:"},
    ],
}


def needle_wordings(kind, noun, phrase):
    """WORDINGS for one kind of value; `phrase`: a value is several words."""
    plural = phrase or kind not in ("niah_single", "niah_multi_key", "niah_multi_query", "mqar", "two_hop")
    asks_all = kind in ("niah_multi_query", "mqar", "two_hop")

    def write(wording):
        thing, form = wording["thing"].format(noun=noun), lambda many: {
            "{noun}": noun, "{thing}": wording["thing"].format(noun=noun) + ("s" if many else ""),
            "{is}": "are" if many else "is", "{s}": "s" if many else ""}

        def put(text, many):
            for slot, value in form(many).items():
                text = text.replace(slot, value)
            return text
        parts = {"prefix": put(wording["prefix"], False), "needle": put(wording["many" if phrase else "one"], False),
                 "question": put(wording["ask"], plural or asks_all), "lead": put(wording["lead"], plural)}
        return {**parts, "link": put(wording["link"], phrase)} if kind == "two_hop" else parts
    return {split: [write(wording) for wording in wordings] for split, wordings in WORDINGS.items()}


def list_wordings(wordings, task):
    """Wordings with the number of words that are asked for; a word of a text has nothing around it."""
    put = lambda text: text.replace("{count}", str(task.get("needles")))
    return {split: [{"needle": "{key}", **{part: put(text) for part, text in wording.items()}} for wording in several]
            for split, several in wordings.items()}


def different(count, draw):
    """`count` different results of `draw`, in the order of their first draw."""
    pool = {}
    while len(pool) < count:
        pool[draw()] = None
    return list(pool)


def number_pool(generator, digits, most):
    """Different numbers of `digits` digits, as texts: all of them where there are no more than `most`."""
    low, high = 10 ** (digits - 1), 10**digits
    if high - low <= most:
        return [str(value) for value in range(low, high)]
    return different(most, lambda: str(generator.randrange(low, high)))


def random_uuid(generator):
    return str(uuid.UUID(int=generator.getrandbits(128), version=4))


def name_pool(generator, most=WHOLE_KEYS):
    """Names of variables as in RULER: five capital letters."""
    return different(most, lambda: "".join(generator.choice(string.ascii_uppercase) for _ in range(5)))


def word_pool(generator, pieces, count):
    """At least `count` different words: those that the tokenizer has whole (of a trained one of real words, English ones
    for the most part), and where these are too few made up ones of syllables, as "kudalo"."""
    entries = sorted(pieces.tokenizer.get_vocab())
    words = {match[1]: None for entry in entries if (match := re.fullmatch("[\u0120\u2581 ]([a-z]{4,12})", entry))}
    letter = lambda letters: letters[generator.randrange(len(letters))]
    while len(words) < count:
        words["".join(letter("bdfgklmnprstvz") + letter("aeiou") for _ in range(3))] = None
    return list(words)


def coded_pool(generator):
    """Words of a coded text as in RULER: six random letters."""
    return different(WHOLE_KEYS, lambda: "".join(generator.choice(string.ascii_lowercase) for _ in range(6)))


def joins(pieces, alphabets, value, generator):
    """Whether the tokens of a value are those of its parts one after another, on random values."""
    for _ in range(VERIFIED_VALUES):
        parts = [generator.choice(alphabets[part]) for part in value]
        if pieces.inside("".join(parts)) != sum((pieces.inside(part) for part in parts), []):
            return False
    return True


def number_values(pieces, digits, generator):
    """Numbers of `digits` digits as (alphabets, value): in digits, in groups of three, or whole."""
    threes = [3] * (digits // 3)
    rest = [digits % 3] if digits % 3 else []
    for sizes in ([1] * digits, threes + rest, rest + threes):
        group = lambda size: [str(value).zfill(size) for value in range(10**size)]
        first = [" " + text for text in group(sizes[0]) if text[0] != "0"]
        others = sorted(set(sizes[1:]))
        alphabets = [first] + [group(size) for size in others]
        value = [0] + [1 + others.index(size) for size in sizes[1:]]
        if joins(pieces, alphabets, value, generator):
            return alphabets, value
    return [[" " + text for text in number_pool(generator, digits, WHOLE_NUMBERS)]], [0]


def uuid_values(pieces, generator):
    """Uuids as (alphabets, value): in their five parts, or whole."""
    parts = [different(UUID_PARTS, lambda: random_uuid(generator).split("-")[part]) for part in range(5)]
    alphabets = [[(" " if part == 0 else "-") + text for text in texts] for part, texts in enumerate(parts)]
    value = [0, 1, 2, 3, 4]
    if joins(pieces, alphabets, value, generator):
        return alphabets, value
    return [[" " + text for text in different(WHOLE_UUIDS, lambda: random_uuid(generator))]], [0]


def texts_of(task, seed, pieces):
    """What the task is written with: texts of keys, values and wordings, `{slot}` where a piece goes."""
    generator = random.Random(f"{seed}/{task['name']}")
    kind, keys, values, length = task["kind"], task["keys"], task["values"], task["value_length"]
    # Of a list, whose item is three tokens at least: its number, a point, the word.
    items = max(task["length"]) // 3 + 1 if kind == "common_words" else 0
    if keys == "numbers":
        key_pool = number_pool(generator, 7, WHOLE_KEYS)
    elif keys == "uuid":
        key_pool = different(WHOLE_KEYS, lambda: random_uuid(generator))
    elif kind == "passkeys":
        key_pool = ORDINALS
    elif kind == "common_words":
        key_pool = word_pool(generator, pieces, max(LEAST_WORDS, task["needles"] + items // task["repeats"][1]))
    elif kind == "frequent_words":
        key_pool = coded_pool(generator)
    else:
        key_pool = name_pool(generator) if kind == "variable_tracking" else CITIES
    if kind == "counting":
        alphabets, value = [[f" {count}" for count in range(1, task["needles"] + 1)]], [0]
    elif kind == "common_words":
        alphabets, value = [[f" {number}" for number in range(1, items + 1)]], [0]
    elif kind == "frequent_words":
        alphabets, value = [[NOISE]], [0]
    elif values == "number":
        alphabets, value = number_values(pieces, length, generator)
    elif values == "uuid":
        alphabets, value = uuid_values(pieces, generator)
    else:
        alphabets, value = [[" " + word for word in (NATO if kind == "passkeys" else THINGS)]], [0] * length
    special = {"passkeys": PASSKEY_WORDINGS, "variable_tracking": TRACKING_WORDINGS, "counting": COUNTING_WORDINGS,
               "common_words": list_wordings(COMMON_WORDINGS, task), "frequent_words": list_wordings(FREQUENT_WORDINGS, task)}
    wordings = special[kind] if kind in special else \
        needle_wordings(kind, NOUNS[values], values == "words" and length > 1)
    return {"keys": [" " + key for key in key_pool], "alphabets": alphabets, "value": value, "wordings": wordings,
            "key_join": ",", "answer_join": ".\n", "list_join": ",",
            "repeat": NOISE if kind in ("common_words", "frequent_words") else REPEAT}


class Pieces:
    """Tokens of texts that stand inside a longer text."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def whole(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def inside(self, text):
        """The tokens of `text` behind other text: some tokenizers put a space before what begins a text."""
        return self.all_inside([text])[0] if text else []

    def all_inside(self, texts):
        """`inside` of many texts, none empty."""
        anchors = ["a" if text[0] in " .,:;?!-" else "\n" for text in texts]
        before = {anchor: self.whole(anchor) for anchor in set(anchors)}
        both = self.tokenizer([anchor + text for anchor, text in zip(anchors, texts)], add_special_tokens=False)
        result = []
        for anchor, text, ids in zip(anchors, texts, both["input_ids"]):
            begin = before[anchor]
            result.append(ids[len(begin):] if ids[:len(begin)] == begin else self.whole(text))
        return result

    def template(self, text):
        """Parts of a text with `{slot}`s."""
        parts = []
        for number, part in enumerate(SLOT.split(text)):
            if number % 2:
                parts.append({"slot": part})
            elif part:
                parts.append({"tokens": self.inside(part)})
        return parts


def chat_texts(tokenizer, wanted):
    """What the chat template puts before and behind a user's message; without one, the tokens that begin a text."""
    if wanted and tokenizer.chat_template:
        mark = "MORPHMESSAGE"
        text = tokenizer.apply_chat_template([{"role": "user", "content": mark}], tokenize=False,
                                             add_generation_prompt=True, enable_thinking=False)
        if text.count(mark) != 1:
            raise LexiconError("the tokenizer's chat template does not repeat the message once",
                               "set chat = false in the task")
        return text.split(mark)
    start = tokenizer.build_inputs_with_special_tokens([]) if hasattr(
        tokenizer, "build_inputs_with_special_tokens") else tokenizer.encode("")
    if tokenizer.eos_token_id is not None and start and start[-1] == tokenizer.eos_token_id and start[-1:] != start[:1]:
        start = start[:-1]
    return ["".join(tokenizer.convert_ids_to_tokens(start)), "\n"]


def break_tokens(tokenizer, vocabulary):
    """Ids whose text ends a sentence: needles are put behind them."""
    special = set(tokenizer.all_special_ids)
    texts = tokenizer.batch_decode([[i] for i in range(vocabulary)])
    return [i for i, text in enumerate(texts) if i not in special and re.search(r"[.!?]['\")\]]?$", text)]


def fill(template, slots, tokens):
    """A template's tokens, or its text, with slots filled."""
    if not tokens:
        return SLOT.sub(lambda match: slots[match.group(1)] if slots else match.group(0), template)
    result = []
    for part in template:
        result += part["tokens"] if "tokens" in part else slots[part["slot"]]
    return result


def compose(source, wording, generator, tokens):
    """A sample without background in one wording, of texts or of tokens by what `source` and `wording` hold;
    `generator` decides what is drawn. A lead without slots is of a kind that fills its context and asks for keys."""
    empty = [] if tokens else ""
    asks_keys = not (any("slot" in part for part in wording["lead"]) if tokens else SLOT.search(wording["lead"]))
    count = min(4, len(source["keys"]))
    chosen = generator.sample(range(len(source["keys"])), count)
    values = []
    for _ in chosen:
        value = empty
        for part in source["value"]:
            alphabet = source["alphabets"][part]
            value = value + alphabet[generator.randrange(len(alphabet))]
        values.append(value)
    keys = [source["keys"][i] for i in chosen]
    join = lambda pieces, between: sum(([*between, *piece] for piece in pieces[1:]), list(pieces[0])) if tokens else \
        between.join(pieces)
    result = fill(wording["prefix"], {}, tokens)
    for i, (key, value) in enumerate(zip(keys, values)):
        between = empty if asks_keys and i % 2 else source["repeat"]
        result = result + between + fill(wording["needle"], {"key": key, "value": value}, tokens)
        if "link" in wording and i:
            result = result + fill(wording["link"], {"key": key, "source": keys[i - 1]}, tokens)
    slots = {"key": keys[0], "keys": join(keys, source["key_join"]), "value": values[0]}
    result = result + source["repeat"] * (2 if asks_keys else 1) + fill(wording["question"], slots, tokens)
    if asks_keys:
        return result + fill(wording["lead"], {}, tokens) + join(keys, source["list_join"])
    for i, (key, value) in enumerate(zip(keys, values)):
        result = result + (source["answer_join"] if i else empty)
        result = result + fill(wording["lead"], {"key": key, "value": value}, tokens) + value
    return result + source["list_join"] + join(keys, source["list_join"])


def verify(pieces, texts, wording, tokens, parts, where):
    """Raises where the tokens of random samples in one wording are not those of their texts."""
    for index in range(VERIFIED_SAMPLES):
        text = compose(texts, wording, random.Random(f"verify/{index}"), tokens=False)
        expected = pieces.whole(text)
        got = compose(tokens, parts, random.Random(f"verify/{index}"), tokens=True)
        if expected != got:
            at = next((i for i, pair in enumerate(zip(expected, got)) if pair[0] != pair[1]),
                      min(len(expected), len(got)))
            show = lambda ids: pieces.tokenizer.convert_ids_to_tokens(ids[max(0, at - 3):at + 4])
            raise VerificationError(
                f"{where}: the pieces put together are not what the tokenizer makes of the text: from token "
                f"{max(0, at - 3)} on {show(got)} and {show(expected)}")


def make_lexicon(folder, task, seed):
    """The lexicon of a resolved [[task]] of space "words" with the tokenizer of `folder`, as a dictionary."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers import AutoTokenizer

    if not isinstance(task, dict) or not isinstance(task.get("name"), str) or task.get("kind") not in KINDS:
        raise LexiconError("--task needs a 'name' and a 'kind' among " + ", ".join(KINDS))
    for key in ("keys", "values", "value_length", "chat"):
        if key not in task:
            raise LexiconError(f"task '{task['name']}': '{key}' is missing; a resolved spec has it")
    for key, allowed in (("keys", ("words", "numbers", "uuid")), ("values", ("number", "words", "uuid"))):
        if task[key] not in allowed:
            raise LexiconError(f"task '{task['name']}': '{key}' must be one of {', '.join(allowed)}, not {task[key]!r}")
    is_count = lambda number: type(number) is int and 1 <= number <= WHOLE_NUMBERS
    if task["kind"] in ("counting", "common_words", "frequent_words") and not is_count(task.get("needles")):
        raise LexiconError(f"task '{task['name']}': 'needles' must be in 1..{WHOLE_NUMBERS}")
    if task["kind"] == "common_words":
        lists = {"length": task.get("length"), "repeats": task.get("repeats")}
        for key, numbers in lists.items():
            if not isinstance(numbers, list) or not numbers or not all(type(number) is int and number >= 1 for number in numbers):
                raise LexiconError(f"task '{task['name']}': '{key}' must be a list of numbers of 1 or more")
        if len(task["repeats"]) != 2:
            raise LexiconError(f"task '{task['name']}': 'repeats' must be two numbers")
    if not isinstance(task["value_length"], int) or not 1 <= task["value_length"] <= 4096:
        raise LexiconError(f"task '{task['name']}': 'value_length' must be in 1..4096, not {task['value_length']!r}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for malformed folders
        raise LexiconError(f"transformers cannot load the tokenizer of '{folder}': {error}") from error

    pieces = Pieces(tokenizer)
    texts = texts_of(task, seed, pieces)
    before, behind = chat_texts(tokenizer, task["chat"])
    tokens = {"keys": pieces.all_inside(texts["keys"]), "value": texts["value"],
              "alphabets": [pieces.all_inside(alphabet) for alphabet in texts["alphabets"]], "wordings": {}}
    for entries in [tokens["keys"], *tokens["alphabets"]]:
        if len({tuple(ids) for ids in entries}) < len(entries) or not all(entries):
            raise LexiconError(f"the tokenizer of '{folder}' writes different keys or values of task '{task['name']}' "
                               "with the same tokens", "choose other keys or values, or space = \"tokens\"")
    for name in ("key_join", "answer_join", "list_join", "repeat"):
        tokens[name] = pieces.inside(texts[name])
    for split, wordings in texts["wordings"].items():
        tokens["wordings"][split] = []
        for wording in wordings:
            wording = {**wording, "prefix": before + wording["prefix"], "question": wording["question"] + behind}
            parts = {name: pieces.template(text) for name, text in wording.items() if name != "prefix"}
            parts["prefix"] = [{"tokens": pieces.whole(wording["prefix"])}]
            verify(pieces, texts, wording, tokens, parts, f"task '{task['name']}', tokenizer of '{folder}'")
            tokens["wordings"][split].append(parts)

    vocabulary = max(tokenizer.get_vocab().values()) + 1
    return {"format": "morph-lexicon", "version": 2, "task": task["name"], "vocabulary": vocabulary, **tokens,
            "break_after": break_tokens(tokenizer, vocabulary)}
