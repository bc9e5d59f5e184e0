# SPDX-License-Identifier: Apache-2.0
"""Questions of kind qa: SQuAD's or HotpotQA's JSON as questions that know the paragraphs that hold their answers.

runtime/data/Questions.h puts them among other paragraphs of the file until a sample has its length, as RULER does
(scripts/data/synthetic/qa.py). Both formats are told by their shape:

  SQuAD 1.1 and 2.0   {"data": [{"paragraphs": [{"context": "...", "qas": [{"question": "...", "answers": [{"text": "..."}],
                      "is_impossible": false}]}]}]}: a question's group is the paragraphs of its article
  HotpotQA            [{"question": "...", "answer": "...", "context": [["title", ["sentence", ...]], ...],
                      "supporting_facts": [["title", 0], ...]}]: its group is its context; without supporting facts a
                      sample has all of it

Of several answers the first is predicted. Questions that have none, or whose answer stands in none of the paragraphs that
a sample is sure to have, are dropped; HotpotQA's "yes" and "no" stand nowhere.
"""

import morph_lexicon
from data import sources
from data.files import InputError, load_tokenizer, parse_json, read_text

BATCH = 256  # texts
FRAME = "Answer the question by the documents below, with nothing but the answer.\n\n"
SHAPES = "expected is JSON as SQuAD (an object with 'data') or HotpotQA (an array of questions with 'context') have it"


class Collection:
    """Paragraphs, each once, the groups that they come in, and questions: (text, answer, group, paragraphs)."""

    def __init__(self):
        self.numbers, self.texts, self.groups, self.questions, self.dropped = {}, [], [], [], 0

    def number(self, text):
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]

    def add(self, question, answer, gold, isolated=()):
        """A question of the last group; `isolated`: answers that need not stand in a paragraph."""
        if not answer or not (answer in isolated or any(answer in self.texts[number] for number in gold)):
            self.dropped += 1
            return
        self.questions.append((question, answer, len(self.groups) - 1, gold))


def member(holder, key, kind, where, blank=False):
    """`holder`[`key`], which must be of this type, and of text not blank."""
    names = {list: "an array", str: "text", dict: "an object"}
    if not isinstance(holder, dict):
        raise InputError(f"{where}: is no object", SHAPES)
    if not isinstance(holder.get(key), kind):
        raise InputError(f"{where}: '{key}' is " + ("missing" if key not in holder else f"not {names[kind]}"), SHAPES)
    if kind is str and not blank and not holder[key].strip():
        raise InputError(f"{where}: '{key}' is empty")
    return holder[key].strip() if kind is str else holder[key]


def read_squad(articles, path):
    collection = Collection()
    for a, article in enumerate(articles):
        group = []
        collection.groups.append(group)
        for p, paragraph in enumerate(member(article, "paragraphs", list, f"{path}: data[{a}]")):
            where = f"{path}: data[{a}].paragraphs[{p}]"
            number = collection.number(member(paragraph, "context", str, where))
            if number not in group:
                group.append(number)
            for q, asked in enumerate(member(paragraph, "qas", list, where)):
                place = f"{where}.qas[{q}]"
                question = member(asked, "question", str, place, blank=True)
                answers = [] if asked.get("is_impossible") is True else member(asked, "answers", list, place)
                answer = member(answers[0], "text", str, f"{place}.answers[0]", blank=True) if answers else ""
                collection.add(question, answer if question else "", [number])
    return collection


def read_hotpot(entries, path):
    collection = Collection()
    for e, entry in enumerate(entries):
        where = f"{path}: [{e}]"
        question = member(entry, "question", str, where, blank=True)
        context, group, titles = member(entry, "context", list, where), [], {}
        for c, pair in enumerate(context):
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], list) and
                    all(isinstance(sentence, str) for sentence in pair[1])):
                raise InputError(f"{where}.context[{c}]: is no title with its sentences",
                                 "a paragraph is [\"title\", [\"sentence\", ...]]")
            number = collection.number(f"{pair[0]}\n{''.join(pair[1])}".strip())
            titles.setdefault(pair[0], number)
            if number not in group:
                group.append(number)
        collection.groups.append(group)
        facts = entry.get("supporting_facts", [])
        if not isinstance(facts, list) or not all(isinstance(fact, list) and fact and fact[0] in titles for fact in facts):
            raise InputError(f"{where}: 'supporting_facts' names what 'context' has not",
                             "a fact is [\"title of the context\", number of the sentence]")
        gold = list(dict.fromkeys(titles[fact[0]] for fact in facts)) or list(group)
        answer = member(entry, "answer", str, where, blank=True)
        collection.add(question, answer if question else "", gold, isolated=("yes", "no"))
    return collection


def read(path):
    """The Collection of a file, plain or packed."""
    content = parse_json(read_text(path), f"'{path}'", SHAPES)
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        collection = read_squad(content["data"], path)
    elif isinstance(content, list):
        collection = read_hotpot(content, path)
    else:
        raise InputError(f"'{path}' is of neither shape", SHAPES)
    if not collection.questions:
        raise InputError(f"'{path}' has no question with an answer in its paragraphs" +
                         (f": all {collection.dropped} are dropped" if collection.dropped else ""), SHAPES)
    return collection


def tokenize(tokenizer, task, collection):
    """(Tokens of the frame, of each paragraph's heading, a function: those of paragraphs, then of questions and answers).

    A sample is one text of them: frame, "Document 1:", a paragraph, an empty line, "Document 2:", ..., "Question: ...", and
    behind "Answer:" the answer. Pieces meet where a line ends, or a space begins a word."""
    plain, special = load_tokenizer(tokenizer), load_tokenizer(tokenizer)
    plain.encode_special_tokens = True  # As in texts.
    try:
        before, after = morph_lexicon.chat_texts(sources.Chat(tokenizer).template(), task["chat"])
    except morph_lexicon.LexiconError as error:
        raise InputError(str(error), error.hint) from error
    ids = lambda encoder, text: encoder.encode(text, add_special_tokens=False).ids

    def between(anchor, texts, follows="", encoder=plain):
        """Tokens of texts as they stand between two others: some tokenizers put a space before what begins a text, and
        join line ends otherwise where a text ends with them."""
        first, last = ids(encoder, anchor), ids(encoder, follows)
        for begin in range(0, len(texts), BATCH):
            part = texts[begin:begin + BATCH]
            for text, encoding in zip(part, encoder.encode_batch_fast([anchor + text + follows for text in part],
                                                                      add_special_tokens=False)):
                end = len(encoding.ids) - len(last)
                apart = encoding.ids[:len(first)] == first and encoding.ids[end:] == last and end > len(first)
                yield encoding.ids[len(first):end] if apart else ids(encoder, text)

    def contents():
        yield from between("\n", [text + "\n\n" for text in collection.texts], "Document")
        end = after.lstrip("\n")
        gap = after[:len(after) - len(end)]
        asks = next(between("\n", [end + "Answer:"], encoder=special))
        questions = between("\n", [f"Question: {question}{gap}" for question, *_ in collection.questions],
                            "Answer" if gap else "")
        answers = between("\nAnswer:", [f" {answer}" for _, answer, *_ in collection.questions])
        for question, answer in zip(questions, answers):
            yield question + asks
            yield answer

    headings = list(between("\n", [f"Document {number + 1}:\n" for number in range(len(collection.texts))], "A"))
    return next(between("", [before + FRAME], "Document", special)), headings, contents
