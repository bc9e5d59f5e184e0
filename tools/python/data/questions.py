# SPDX-License-Identifier: Apache-2.0
"""Questions of a file as token files: the tokens of what asks and of what answers (runtime/data/Questions.h)."""

import json

import morph_lexicon
from data import paragraphs, sources, tokens
from data.files import InputError, load_tokenizer, sha256_of, tokenizer_file, whole_file

BATCH = 256  # rows


def question(row, where, task, chat):
    """(what asks, the answer, whether the first is written by the chat template) of a row; None where one is empty."""
    if "messages" in row and task["prompt"] not in row:
        messages = row["messages"]
        chat.check(messages, where)
        if messages[-1]["role"] != "assistant" or len(messages) < 2:
            raise InputError(f"{where}: the last message is not the assistant's answer to one before",
                             "the last of 'messages' has the role assistant")
        asks, answer, is_chat = chat.render(messages[:-1], where, asks=True), messages[-1]["content"], True
        return (asks, answer, is_chat) if answer else None
    for key in ("prompt", "answer"):
        if task[key] not in row:
            raise InputError(f"{where}: the row has no '{task[key]}'",
                             f"it has {', '.join(map(str, row)) or 'nothing'}; name the fields by 'prompt' and 'answer' in "
                             "[[task]], or give 'messages'")
        if not isinstance(row[task[key]], str):
            raise InputError(f"{where}: '{task[key]}' is no text, but {type(row[task[key]]).__name__}")
    asks, answer = row[task["prompt"]], row[task["answer"]]
    if not asks.strip() or not answer.strip():
        return None
    if task["chat"] and chat.template().chat_template:
        return chat.render([{"role": "user", "content": asks}], where, asks=True), answer, True
    return asks, answer, False


def tokenize_rows(tokenizer, task, writer):
    """The tokens of all rows. An answer's are those behind the question's where both together begin with the question's."""
    plain, special, chat = load_tokenizer(tokenizer), load_tokenizer(tokenizer), sources.Chat(tokenizer)
    plain.encode_special_tokens = True  # As in texts.
    start = special.encode(morph_lexicon.chat_texts(chat.template(), False)[0], add_special_tokens=False).ids

    def write(rows, is_chat):
        used = special if is_chat else plain
        asked = used.encode_batch_fast([asks for asks, _ in rows], add_special_tokens=False)
        whole = used.encode_batch_fast([asks + answer for asks, answer in rows], add_special_tokens=False)
        for (_, answer), first, both in zip(rows, asked, whole):
            first, both = first.ids, both.ids
            joins = both[:len(first)] == first and len(both) > len(first)
            ids = both[len(first):] if joins else used.encode(answer, add_special_tokens=False).ids
            if not first or not ids:
                writer.state["sources"][0]["dropped"] += 1
                continue
            writer.append(0, [(first if is_chat else start + first, True), (ids, True)])

    waiting, was_chat = [], False
    for row, where in sources.rows(task["path"]):
        found = question(row, where, task, chat)
        if found is None:
            writer.state["sources"][0]["dropped"] += 1
            continue
        asks, answer, is_chat = found
        if waiting and (is_chat != was_chat or len(waiting) >= BATCH):
            write(waiting, was_chat)
            waiting = []
        waiting.append((asks, answer))
        was_chat = is_chat
    if waiting:
        write(waiting, was_chat)


def lengths_of(prefix, record, before):
    """Tokens of each question with its answer, which stand behind the first `before` documents."""
    import numpy

    offsets = numpy.append(numpy.fromfile(f"{prefix}.documents", dtype="<u8"), record["tokens"]).astype(numpy.int64)
    return offsets[before + 2::2] - offsets[before:-1:2]


def write_questions(tokenizer, task, prefix, model_vocabulary, cache):
    """Writes `prefix`.tokens, `prefix`.documents (of kind qa the paragraphs; a question, its answer, the next question) and
    `prefix`.json, which of kind qa says what stands before questions, too."""
    vocabulary, dtype = tokens.vocabulary_of(tokenizer, model_vocabulary)
    if task["kind"] == "qa":
        collection = paragraphs.read(task["path"])
        frame, headings, contents = paragraphs.tokenize(tokenizer, task, collection)
        options = {"paragraphs": {"version": 1, "chat": task["chat"]}, "dtype": dtype}
        described = {"paragraphs": len(collection.texts), "frame": [frame], "headings": headings, "groups": collection.groups,
                     "questions": [[group, *gold] for _, _, group, gold in collection.questions]}

        def produce(writer):
            for ids in contents():
                if not ids:
                    raise InputError(f"the tokenizer of '{tokenizer}' has no tokens for a text of '{task['path']}'")
                writer.append(0, [(ids, True)])
            writer.state["sources"][0]["dropped"] = collection.dropped
    else:
        options, described = {"rows": {key: task[key] for key in ("prompt", "answer", "chat")}, "dtype": dtype}, {}
        produce = lambda writer: tokenize_rows(tokenizer, task, writer)  # noqa: E731
    record = tokens.tokens_of(tokenizer, [task["path"]], options, cache, prefix,
                              # The journal is written at the end alone: where there is one, all is there.
                              lambda writer, files, total: writer.resumed or produce(writer))
    before = described.get("paragraphs", 0)
    rows, dropped = (record["documents"] - before) // 2, record["sources"][0]["dropped"]
    lengths = lengths_of(prefix, record, before)
    # Paragraphs leave room, or the question is not asked at that length (runtime/data/Questions.cpp).
    long = 0 if before else int((lengths > max(task["length"])).sum())
    with whole_file(f"{prefix}.json") as stream:
        json.dump({"dtype": dtype, "count": record["tokens"], "documents": record["documents"], "path": task["path"],
                   "vocabulary": vocabulary, "tokenizer_sha256": sha256_of(tokenizer_file(tokenizer)),
                   "rows": rows, "dropped": dropped, "long": long, **described}, stream, separators=(",", ":"))
        stream.write("\n")
    print(f"task '{task['name']}': {rows} questions of {lengths.mean():.0f} tokens in the mean, the longest of "
          f"{lengths.max()}" + (f"; {before} paragraphs before them" if before else ""))
    if dropped:
        what = "questions have no answer in their paragraphs" if before else "rows have an empty question or answer"
        print(f"  {dropped} of {rows + dropped} {what} and are dropped ({100 * dropped / (rows + dropped):.2g} %)")
    if long:
        print(f"  {long} of {rows} are longer than {max(task['length'])} tokens and are dropped ({100 * long / rows:.2g} %)")
