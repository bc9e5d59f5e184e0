# SPDX-License-Identifier: Apache-2.0
"""`morph chat`: a conversation in a terminal, or of lines from a pipe. The engine keeps the states of what was said, so that
a turn reads its new tokens alone.

/reset begins anew, /exit or the end of the input ends it; Ctrl-C stops an answer.
"""

import argparse
import asyncio
import pathlib
import signal
import sys

PYTHON = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(PYTHON), str(PYTHON / "text")]
from answers import TextStream
from data.files import InputError, print_error
from engine import Engine, EngineEnded, RequestError
from model_text import context_of, encode_text, end_tokens, load_tokenizer, render_chat


class Conversation:
    """Messages, and the tokens that the engine has read and written of them."""

    def __init__(self, folder, tokenizer):
        self.folder, self.tokenizer = folder, tokenizer
        self.reset()

    def reset(self):
        self.messages, self.tokens, self.text = [], [], ""

    def ask(self, message):
        """The tokens of the conversation up to where the answer to a message begins."""
        self.messages.append({"role": "user", "content": message})
        text = render_chat(self.folder, self.messages)
        # Tokens of an answer are kept as they were written: its text may have others. A template that changes what was
        # said before is read anew.
        if self.text and text.startswith(self.text):
            tokens = self.tokens + encode_text(self.folder, self.tokenizer, text[len(self.text):], special=False)
        else:
            tokens = encode_text(self.folder, self.tokenizer, text, special=False)
        self.rendered = text
        return tokens

    def answered(self, prompt, tokens, ends, answer):
        """What was said in answer. Of the template's own text behind an answer the end token is there already."""
        self.messages.append({"role": "assistant", "content": answer})
        self.tokens, self.text = prompt + tokens, self.rendered + answer
        if tokens and tokens[-1] in ends:
            self.text += self.tokenizer.id_to_token(tokens[-1])

    def refused(self):
        self.messages.pop()


async def read_line(prompt):
    """A line of the input, without its end; None where there is none any more."""
    if sys.stdin.isatty():
        print(prompt, end="", flush=True)
    line = await asyncio.to_thread(sys.stdin.buffer.readline)
    if not line:
        return None
    return line.decode(errors="replace").rstrip("\r\n")


async def chat(arguments, tokenizer, ends):
    engine = Engine(arguments.engine)
    try:
        await engine.start()
    except EngineEnded as error:
        print(f"morph: {error}", file=sys.stderr)
        return 2 if engine.exit_code == 2 else 1
    conversation = Conversation(arguments.model, tokenizer)
    running = None

    def interrupt():
        if running:
            running.cancel_all()
        else:
            print("\n(/exit ends the chat)", file=sys.stderr)

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    while (line := await read_line("> ")) is not None:
        if line.strip() == "/exit":
            break
        if line.strip() == "/reset":
            conversation.reset()
            print("(a new conversation)", file=sys.stderr)
            continue
        if not line.strip():
            continue
        try:
            prompt = conversation.ask(line)
            room = engine.ready["context"] - len(prompt)
            if room < 1:
                raise InputError(f"the conversation has {len(prompt)} tokens, a context has {engine.ready['context']}; /reset begins anew")
            running = engine.generate([{
                "tokens": prompt, "max_tokens": min(arguments.max_tokens, room), "temperature": arguments.temperature,
                "top_p": arguments.top_p, "seed": arguments.seed, "eos": ends, "keep_end": True}])
            stream, tokens, answer = TextStream(tokenizer, ends, []), [], ""
            async for _, event in running:
                text = stream.add(event["token"]) if "token" in event else stream.finish()
                answer += text
                print(text, end="", flush=True)
                if "finish" in event:
                    if arguments.show_counts:
                        print(f"\n({event.get('prompt_tokens', 0)} tokens, {event.get('cached_tokens', 0)} of them kept)", file=sys.stderr,
                              end="", flush=True)
                    break
                tokens.append(event["token"])
            print(flush=True)
            conversation.answered(prompt, tokens, ends, answer)
        except (InputError, RequestError) as error:
            conversation.refused()
            print(f"morph: {error}", file=sys.stderr)
        except EngineEnded as error:
            print(f"morph: error: {error}", file=sys.stderr)
            return 1
        finally:
            running = None
    return 0 if await engine.close() == 0 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--context", type=int, default=0, help="0: the model's own")
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show-counts", action="store_true")
    parser.add_argument("engine", nargs="+", help="the engine's command")
    arguments = parser.parse_args()
    sys.stderr.reconfigure(errors="backslashreplace")
    try:
        tokenizer = load_tokenizer(arguments.model)
        ends = end_tokens(arguments.model, tokenizer)
        render_chat(arguments.model, [{"role": "user", "content": "a"}])  # Whether there is a template at all.
        context, note = context_of(arguments.model, arguments.context)
        if note:
            print(f"morph: note: {note}", file=sys.stderr)
        arguments.engine += ["--context", str(context)]
        return asyncio.run(chat(arguments, tokenizer, ends))
    except InputError as error:
        print_error("morph", error)
        return 2
    except BrokenPipeError:
        return 0  # Nobody reads on.


if __name__ == "__main__":
    sys.exit(main())
