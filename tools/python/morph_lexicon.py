# SPDX-License-Identifier: Apache-2.0
"""Lexicons of retrieval tasks in words: the token pieces that runtime/data writes samples with.

A sample's text is put together from pieces of text, its tokens from the pieces' tokens. That both agree, whatever
keys and values are drawn, is checked on random samples before a lexicon is written.
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
KINDS = ("passkeys", "niah_single", "niah_multi_key", "niah_multi_value", "niah_multi_query", "variable_tracking",
         "mqar")
VERIFIED_SAMPLES = 64
SLOT = re.compile(r"\{(keys|key|value|source)\}")


class LexiconError(Exception):
    """The task or the tokenizer cannot give a lexicon."""

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


class VerificationError(Exception):
    """Pieces put together are not what the tokenizer makes of the text."""


def number_pool(generator, digits, most=4096):
    """Different numbers of `digits` digits, as texts."""
    low, high = 10 ** (digits - 1), 10**digits
    if high - low <= most:
        pool = list(range(low, high))
        generator.shuffle(pool)
        return [str(value) for value in pool]
    pool = {}
    while len(pool) < most:
        pool[generator.randrange(low, high)] = None
    return [str(value) for value in pool]


def uuid_pool(generator, most=2048):
    return [str(uuid.UUID(int=generator.getrandbits(128), version=4)) for _ in range(most)]


def name_pool(generator, most=512):
    """Names of variables as in RULER: five capital letters."""
    pool = {}
    while len(pool) < most:
        pool["".join(generator.choice(string.ascii_uppercase) for _ in range(5))] = None
    return list(pool)


def texts_of(task, seed):
    """What the task is written with: texts of keys, values and templates, `{slot}` where a piece goes."""
    generator = random.Random(f"{seed}/{task['name']}")
    kind, keys, values, length = task["kind"], task["keys"], task["values"], task["value_length"]
    key_pools = {"words": CITIES, "numbers": None, "uuid": None}
    if kind == "passkeys":
        key_pools["words"] = ORDINALS
    elif kind == "variable_tracking":
        key_pools["words"] = name_pool(generator)
    key_pools["numbers"] = number_pool(generator, 7) if keys == "numbers" else None
    key_pools["uuid"] = uuid_pool(generator) if keys == "uuid" else None
    if values == "number":
        pool, atoms = number_pool(generator, length), 1
    elif values == "uuid":
        pool, atoms = uuid_pool(generator), 1
    else:
        pool, atoms = NATO if kind == "passkeys" else THINGS, length
    result = {"keys": [" " + key for key in key_pools[keys]], "values": [" " + value for value in pool], "atoms": atoms,
              "key_join": ",", "answer_join": ".\n", "list_join": ",", "link": "", "repeat": REPEAT}
    if kind == "passkeys":
        result.update(
            prefix="The passkeys to a vault are hidden within the following text. Remember them.\n\n",
            needle=" Remember this sequence, it is the{key} passkey to the vault:{value}.",
            question="\n\nBased on the text above, what are the passkeys to the vault, in this order:{keys}?",
            lead="The{key} passkey to the vault is:")
    elif kind == "variable_tracking":
        result.update(
            prefix="Memorize and track the chains of variable assignment hidden in the following text.\n\n",
            needle=" VAR{key} ={value}.", link=" VAR{key} = VAR{source}.",
            question="\n\nFind all variables that are assigned the value{value} in the text above.",
            lead="The variables that are assigned the value{value} are:")
    else:
        # A value of several words is "the special magic words", any other "the special magic number".
        noun, phrase = NOUNS[values], values == "words" and length > 1
        one, is_one = (noun + "s", "are") if phrase or kind == "niah_multi_value" else (noun, "is")
        asks_one = kind in ("niah_single", "niah_multi_key")
        result.update(
            prefix=f"Special magic {noun}s are hidden within the following text. Remember them.\n\n",
            needle=f" The special magic {noun}s for{{key}} are:{{value}}." if phrase else
            f" One of the special magic {noun}s for{{key}} is:{{value}}.",
            question=f"\n\nWhat {is_one} the special magic {one} for{{key}} in the text above?" if asks_one else
            f"\n\nWhat are all the special magic {noun}s for{{keys}} in the text above?",
            lead=f"The special magic {one} for{{key}} {is_one}:")
    return result


class Pieces:
    """Tokens of texts that stand inside a longer text."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def whole(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def inside(self, text):
        """The tokens of `text` behind other text: some tokenizers put a space before what begins a text."""
        if not text:
            return []
        anchor = "a" if text[0] in " .,:;?!" else "\n"
        before, both = self.whole(anchor), self.whole(anchor + text)
        return both[len(before):] if both[:len(before)] == before else self.whole(text)

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


def compose(source, generator, tokens):
    """A sample without background, of texts or of tokens by what `source` holds; `generator` decides what is drawn."""
    empty = [] if tokens else ""
    count = min(4, len(source["keys"]))
    chosen = generator.sample(range(len(source["keys"])), count)
    values = []
    for _ in chosen:
        value = empty
        for _ in range(source["atoms"]):
            value = value + source["values"][generator.randrange(len(source["values"]))]
        values.append(value)
    keys = [source["keys"][i] for i in chosen]
    join = lambda pieces, between: sum(([*between, *piece] for piece in pieces[1:]), list(pieces[0])) if tokens else \
        between.join(pieces)
    result = fill(source["prefix"], {}, tokens)
    for i, (key, value) in enumerate(zip(keys, values)):
        result = result + source["repeat"] + fill(source["needle"], {"key": key, "value": value}, tokens)
        if source["link"] and i:
            result = result + fill(source["link"], {"key": key, "source": keys[i - 1]}, tokens)
    slots = {"key": keys[0], "keys": join(keys, source["key_join"]), "value": values[0]}
    result = result + source["repeat"] + fill(source["question"], slots, tokens)
    for i, (key, value) in enumerate(zip(keys, values)):
        result = result + (source["answer_join"] if i else empty)
        result = result + fill(source["lead"], {"key": key, "value": value}, tokens) + value
    return result + source["list_join"] + join(keys, source["list_join"])


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
    if not isinstance(task["value_length"], int) or not 1 <= task["value_length"] <= 4096:
        raise LexiconError(f"task '{task['name']}': 'value_length' must be in 1..4096, not {task['value_length']!r}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for malformed folders
        raise LexiconError(f"transformers cannot load the tokenizer of '{folder}': {error}") from error

    texts = texts_of(task, seed)
    before, behind = chat_texts(tokenizer, task["chat"])
    texts["prefix"] = before + texts["prefix"]
    texts["question"] += behind
    pieces = Pieces(tokenizer)
    tokens = {"atoms": texts["atoms"]}
    tokens["prefix"] = [{"tokens": pieces.whole(texts["prefix"])}]
    for name in ("needle", "link", "question", "lead"):
        tokens[name] = pieces.template(texts[name])
    for name in ("keys", "values"):
        tokens[name] = [pieces.inside(text) for text in texts[name]]
    for name in ("key_join", "answer_join", "list_join", "repeat"):
        tokens[name] = pieces.inside(texts[name])

    for index in range(VERIFIED_SAMPLES):
        text = compose(texts, random.Random(f"verify/{index}"), tokens=False)
        expected, got = pieces.whole(text), compose(tokens, random.Random(f"verify/{index}"), tokens=True)
        if expected != got:
            at = next((i for i, pair in enumerate(zip(expected, got)) if pair[0] != pair[1]),
                      min(len(expected), len(got)))
            show = lambda ids: tokenizer.convert_ids_to_tokens(ids[max(0, at - 3):at + 4])
            raise VerificationError(
                f"task '{task['name']}': the pieces put together are not what the tokenizer of '{folder}' makes of the "
                f"text: from token {max(0, at - 3)} on {show(got)} and {show(expected)}")

    vocabulary = max(tokenizer.get_vocab().values()) + 1
    tokens["value_atoms"] = tokens.pop("atoms")
    return {"format": "morph-lexicon", "version": 1, "task": task["name"], "vocabulary": vocabulary, **tokens,
            "break_after": break_tokens(tokenizer, vocabulary)}
