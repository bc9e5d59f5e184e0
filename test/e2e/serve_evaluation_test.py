# SPDX-License-Identifier: Apache-2.0
"""morph serve as clients that evaluate ask it: how likely a prompt's tokens are, by stock transformers on the same hybrid,
whatever was kept and whoever is asked beside; several prompts and several answers in one request, each as it is alone; and
lm-evaluation-harness's own client of such servers, whose figures are those of tools/lm-eval."""

import concurrent.futures
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from serve_test import client_of, metrics, refused, wait_for
from support import BIN, SOURCE, run

sys.path[1:1] = [str(SOURCE / "tools/python/bench"), str(SOURCE / "test/tools")]
from lm_eval_test import Scorer, lm_eval, make_inputs
from serve_load import Server

CHUNK = 16
# Of the clients' own library for repeating calls, which lm-evaluation-harness needs of its extra `api`, where it is not there:
# nothing is repeated.
TENACITY = """
class RetryError(Exception):
    pass
def retry(**options):
    return lambda function: function
def stop_after_attempt(count):
    pass
def wait_exponential(**options):
    pass
"""
# What the harness finds through a server: RESULTS, URL, TOKENIZER, TASKS, BATCH, CONCURRENT, then names of tasks.
CLIENT = """
import json, sys, lm_eval
from lm_eval.tasks import TaskManager
results, url, tokenizer, include, batch, concurrent, *tasks = sys.argv[1:]
found = lm_eval.simple_evaluate(
    model="local-completions", model_args={"model": "model", "base_url": url + "/completions", "tokenizer_backend": "huggingface",
    "tokenizer": tokenizer, "trust_remote_code": True, "num_concurrent": int(concurrent)},
    tasks=tasks, task_manager=TaskManager(include_path=include), batch_size=int(batch), log_samples=False, bootstrap_iters=0)
json.dump(found["results"], open(results, "w"))
"""
# Whether a text is what the model itself would say, and what it says by itself.
GREEDY = """
task: morph_greedy
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/greedy.jsonl}}}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{{{text}}}}"
doc_to_target: "{{{{target}}}}"
target_delimiter: ""
metric_list: [{{metric: acc}}, {{metric: perplexity}}]
metadata: {{version: 1}}
"""
WRITTEN = """
task: morph_written
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/greedy.jsonl}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{text}}}}"
doc_to_target: "{{{{said}}}}"
generation_kwargs: {{until: ["<k63>"], max_gen_toks: 4, do_sample: false}}
metric_list: [{{metric: exact_match}}]
metadata: {{version: 1}}
"""


class Reference(Scorer):
    """What stock transformers goes on with, too."""

    def greedy(self, tokens, count):
        tokens = list(tokens)
        for _ in range(count):
            tokens.append(self.logprobs(tokens)[-1].argmax().item())
        return tokens[-count:]


def make_prompts(count):
    """Token ids of prompts that end before, with and behind chunks, the longest behind several."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (length,), generator=generator).tolist() for length in (1, 15, 16, 17, 33, 90)[:count]]


def compare(told, tokens, reference, likely, count=0):
    """What is told of a prompt's tokens, and of `count` more, against the reference."""
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset) == len(tokens), told
    assert (told.token_logprobs[0] is None) == (told.top_logprobs[0] is None) == (count < len(tokens))
    rows = reference.logprobs(tokens)
    for place in range(1, len(tokens)):
        row = rows[place - 1]
        assert abs(told.token_logprobs[place] - row[tokens[place]].item()) < 1e-4, (place, told.token_logprobs[place], row[tokens[place]])
        top = told.top_logprobs[place]
        assert likely <= len(top) <= likely + 1 and top[told.tokens[place]] == told.token_logprobs[place], top
        best = sorted(top.values(), reverse=True)[:likely]
        assert torch.allclose(torch.tensor(best), row.topk(likely).values, atol=1e-4, rtol=0), (place, best, row.topk(likely))


def check_prompts(client, reference):
    decode = lambda tokens: reference.tokenizer.decode(tokens)
    ask = lambda prompt, **more: client.completions.create(
        model="model", prompt=prompt, **{"max_tokens": 0, "echo": True, "logprobs": 3, "temperature": 0, **more})
    prompts = make_prompts(6)
    alone = []
    for tokens in prompts:
        answer = ask(tokens)
        choice = answer.choices[0]
        alone.append(choice)
        assert choice.text == decode(tokens) and choice.finish_reason == "length", choice
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(tokens), 0), answer.usage
        compare(choice.logprobs, tokens, reference, 3)
        # Offsets are those of the text that is given out.
        assert all(choice.text.startswith(text, at) for text, at in zip(choice.logprobs.tokens, choice.logprobs.text_offset))
    # What follows is the model's, with the same scores before it; so it is without the prompt.
    for tokens in prompts[3:]:
        more = ask(tokens, max_tokens=3).choices[0]
        said = reference.greedy(tokens, 3)
        compare(more.logprobs, tokens + said, reference, 3)
        assert more.text == decode(tokens + said)
        assert all(more.text.startswith(text, at) for text, at in zip(more.logprobs.tokens, more.logprobs.text_offset))
        plain = ask(tokens, max_tokens=3, echo=False, logprobs=20).choices[0]
        assert plain.text == decode(said) and plain.logprobs.text_offset[0] == 0
        assert [len(top) for top in plain.logprobs.top_logprobs] == [20] * 3
        rows = reference.logprobs(tokens + said)[len(tokens) - 1:-1]
        for logprob, top, row in zip(plain.logprobs.token_logprobs, plain.logprobs.top_logprobs, rows):
            assert abs(logprob - row.max().item()) < 1e-4 and logprob == max(top.values())
            assert torch.allclose(torch.tensor(sorted(top.values(), reverse=True)), row.topk(20).values, atol=1e-4, rtol=0)
    # Beginnings are kept by now: nothing changes, alone, in one request, streamed, by its text, or several times.
    kept = client.completions.create(model="model", prompt=prompts[5], max_tokens=1, temperature=0)
    assert kept.usage.prompt_tokens_details.cached_tokens >= 5 * CHUNK
    assert ask(prompts[5]).choices[0] == alone[5]
    together = ask(prompts)
    assert [choice.logprobs for choice in together.choices] == [choice.logprobs for choice in alone]
    assert [choice.index for choice in together.choices] == list(range(6))
    assert together.usage.prompt_tokens == sum(map(len, prompts))
    twice = ask([prompts[4], prompts[2]], n=2)
    assert [choice.logprobs for choice in twice.choices] == [alone[i].logprobs for i in (4, 4, 2, 2)]
    assert twice.usage.prompt_tokens == len(prompts[4]) + len(prompts[2])
    text = "The dog number 7 sleeps, and so does the quick brown fox."
    by_text, ids = ask(text).choices[0], reference.tokenizer.encode(text)
    assert by_text.text == text
    compare(by_text.logprobs, ids, reference, 3)
    assert [text[at] for at in by_text.logprobs.text_offset] == list(text)
    pieces = list(ask([prompts[5], prompts[3]], stream=True, max_tokens=2))
    for index, tokens in ((0, prompts[5]), (1, prompts[3])):
        own = [piece.choices[0] for piece in pieces if piece.choices[0].index == index]
        told = [choice.logprobs for choice in own if choice.logprobs]
        whole = ask(tokens, max_tokens=2).choices[0]
        assert "".join(choice.text for choice in own) == whole.text and own[-1].finish_reason == "length"
        for field in ("tokens", "token_logprobs", "text_offset"):
            assert sum((getattr(one, field) for one in told), []) == getattr(whole.logprobs, field), field
    # Without logprobs it is the text alone.
    plain = ask(prompts[1], logprobs=None).choices[0]
    assert plain.text == decode(prompts[1]) and plain.logprobs is None
    # A prompt that fills the context can be told, and nothing more.
    full = (prompts[5] * 3)[:256]
    assert len(ask(full).choices[0].logprobs.tokens) == 256
    assert "--context" in refused(400, ask, full, max_tokens=1)


def check_several(client, url, hybrid):
    """Prompts and answers of one request are those of requests of their own."""
    prompts = make_prompts(6)
    ask = lambda prompt, **more: client.completions.create(model="model", prompt=prompt, **{"max_tokens": 12, "temperature": 0, **more})
    texts = [ask(prompt).choices[0].text for prompt in prompts]
    whole = ask(prompts)
    assert [choice.text for choice in whole.choices] == texts and len(set(texts)) > 3, texts
    assert whole.usage.completion_tokens == 12 * 6 and whole.usage.total_tokens == 12 * 6 + sum(map(len, prompts))
    pieces = list(ask(prompts, stream=True, stream_options={"include_usage": True}))
    for index, text in enumerate(texts):
        own = [piece.choices[0] for piece in pieces if piece.choices and piece.choices[0].index == index]
        assert "".join(choice.text for choice in own) == text and [choice.finish_reason for choice in own][-1] == "length"
    assert pieces[-1].usage.total_tokens == whole.usage.total_tokens
    assert [choice.text for choice in ask(["The fox", "A dog"]).choices] == [ask(text).choices[0].text for text in ("The fox", "A dog")]
    # One that stops leaves the others alone.
    stop = texts[5][4:9]
    cut = ask(prompts, stop=stop)
    assert [choice.text for choice in cut.choices] == [text.partition(stop)[0] for text in texts]
    assert {choice.finish_reason for choice in cut.choices} == {"stop", "length"}
    # Its slot is free then: of two long ones the engine computes but one.
    before = metrics(url)["tokens_total"]
    long = ask([prompts[5], prompts[4]], stop=stop, max_tokens=160)
    assert {choice.finish_reason for choice in long.choices} == {"stop", "length"}
    assert metrics(url)["tokens_total"] - before < 300
    # Answers to one prompt are different draws, the first of which is that of the request alone; to the same seed the same.
    draw = lambda prompt, **more: [choice.text for choice in ask(prompt, temperature=1.2, **more).choices]
    three = draw(prompts[3], n=3, seed=5)
    assert len(set(three)) == 3 and three == draw(prompts[3], n=3, seed=5, extra_body={"best_of": 3})
    assert three[:1] == draw(prompts[3], seed=5)
    told = run("morph", "generate", hybrid, "--prompt", "The fox", "--max-tokens", 12, "--temperature", 1.2, "--seed", 5, "--json")
    assert [json.loads(told.stdout)["text"]] == draw("The fox", seed=5)
    assert draw(prompts[3:5], n=3, seed=5) == three + draw(prompts[4], n=3, seed=5)
    assert three != draw(prompts[3], n=3, seed=6)
    assert len(set(draw([prompts[3]] * 3))) == 3, "without a seed each sequence has one of its own"
    chat = dict(model="model", messages=[{"role": "user", "content": "A fox"}], max_completion_tokens=6, temperature=1.2, seed=3, n=2)
    answer = client.chat.completions.create(**chat, logprobs=True, top_logprobs=20)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].message.content != answer.choices[1].message.content
    for choice in answer.choices:
        for entry in choice.logprobs.content:
            told = {other.token: other.logprob for other in entry.top_logprobs}
            assert len(entry.top_logprobs) == 20 and told.get(entry.token, entry.logprob) == entry.logprob
            assert max(told.values()) >= entry.logprob
    pieces = list(client.chat.completions.create(**chat, stream=True))
    for choice in answer.choices:
        own = [piece.choices[0].delta for piece in pieces if piece.choices[0].index == choice.index]
        assert own[0].role == "assistant" and "".join(delta.content or "" for delta in own) == choice.message.content
    # Who hangs up frees all of them: most of what 24 sequences would have is never computed.
    before = metrics(url)["tokens_total"]
    stream = ask(prompts * 2, n=2, max_tokens=160, stream=True)
    next(stream)
    wait_for(lambda: metrics(url)["running"] + metrics(url)["queued"] > 20)
    stream.close()
    wait_for(lambda: metrics(url)["running"] + metrics(url)["queued"] == 0)
    assert metrics(url)["tokens_total"] - before < 20 * 160


def check_bounds(client, url):
    """What is refused, by the name of its parameter; the queue is one of sequences."""
    create = client.completions.create
    for change, param, message in (
        ({"n": 31}, "n", "--max-sequences"), ({"prompt": ["a"] * 31}, "prompt", "31 sequences"), ({"n": 0}, "n", "'n'"),
        ({"prompt": ["a"] * 16, "n": 2}, "prompt", "32 sequences, a request may have 30 (--max-sequences)"),
        ({"n": 2, "best_of": 3}, "best_of", "'best_of'"), ({"logprobs": 21}, "logprobs", "from 0 to 20"),
        ({"logprobs": True}, "logprobs", "an integer"), ({"max_tokens": 0}, "max_tokens", "'echo'"),
        ({"prompt": ["a", ""]}, "prompt[1]", "'prompt[1]' is empty"), ({"prompt": [[1], [1, 256]]}, "prompt[1]", "token 256 is none"),
        ({"prompt": ["a", "b" * 300]}, "prompt[1]", "--context"), ({"prompt": []}, "prompt", "empty"),
        ({"prompt": [[1], ["a"]]}, "prompt[1]", "array of token ids"), ({"prompt": [1, "a"]}, "prompt", "array of token ids"),
        ({"echo": 1}, "echo", "a boolean"), ({"extra_body": {"top_logprobs": 2}}, "top_logprobs", "'logprobs'"),
        ({"suffix": "b"}, "suffix", "'suffix'"),
    ):
        try:
            create(**{"model": "model", "prompt": "a", **change})
            raise AssertionError(f"{change} was taken")
        except client_error() as error:
            assert error.status_code == 400 and error.body["param"] == param and message in error.body["message"], (change, error.body)
    chat = lambda **more: client.chat.completions.create(model="model", messages=[{"role": "user", "content": "a"}], **more)
    for change, message in (({"top_logprobs": 2}, "needs 'logprobs'"), ({"logprobs": True, "top_logprobs": 21}, "from 0 to 20"),
                            ({"extra_body": {"echo": True}}, "'echo'"), ({"n": 31}, "--max-sequences"),
                            ({"max_tokens": 0}, "'max_tokens'")):
        assert message in refused(400, chat, **change), change
    # 30 of 33 places are taken: one of three fits, one of four does not.
    stream = create(model="model", prompt=["a"] * 30, max_tokens=200, temperature=0, stream=True)
    next(stream)
    assert "30 sequences are running or waiting" in refused(429, create, model="model", prompt=["a"] * 4, max_tokens=1)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        fits = thread.submit(create, model="model", prompt=["a"] * 3, max_tokens=1)
        wait_for(lambda: fits.done() or metrics(url)["running"] + metrics(url)["queued"] > 30)
        stream.close()
        assert len(fits.result().choices) == 3
    wait_for(lambda: metrics(url)["running"] + metrics(url)["queued"] == 0)


def client_error():
    import openai

    return openai.APIStatusError


def check_harness(root, url, hybrid, reference):
    """The harness's client of such servers finds what the harness finds with the model itself."""
    samples = []
    for i in range(12):
        text = f"The dog number {i} jumps"
        said = reference.greedy(reference.tokenizer.encode(text), 4)
        target = reference.tokenizer.decode(said if i % 3 else said[:2] + [(said[2] + 1) % 256])
        samples.append({"text": text, "target": target, "said": reference.tokenizer.decode(said if i % 2 else said[:3])})
    (root / "greedy.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    for name, text in (("greedy", GREEDY), ("written", WRITTEN)):
        (root / f"tasks/{name}.yaml").write_text(text.format(folder=root))
    tasks = ["morph_choices", "morph_texts", "morph_greedy", "morph_written"]
    lm_eval(hybrid, "--tasks", ",".join(tasks), "--include", root / "tasks", "--out", root / "own.json")
    own = json.loads((root / "own.json").read_text())[str(hybrid)]["results"]
    assert 0 < own["morph_greedy"]["acc,none"] < 1 and 0 < own["morph_written"]["exact_match,none"] < 1, own
    stand_in = root / "stand-in"
    stand_in.mkdir()
    if importlib.util.find_spec("tenacity") is None:
        (stand_in / "tenacity.py").write_text(TENACITY)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(stand_in),
                                "TOKENIZERS_PARALLELISM": "false"}
    for batch, concurrent_requests in ((1, 1), (8, 1), (3, 4)):
        done = subprocess.run([sys.executable, "-c", CLIENT, root / "served.json", url, hybrid, root / "tasks", str(batch),
                               str(concurrent_requests), *tasks], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (batch, done.stdout[-2000:], done.stderr[-4000:])
        served = json.loads((root / "served.json").read_text())
        for task in tasks:
            for metric, value in own[task].items():
                if metric.endswith(",none") and "stderr" not in metric:
                    assert abs(served[task][metric] / value - 1) < 1e-4, (batch, task, metric, served[task], own[task])


def main():
    with tempfile.TemporaryDirectory() as holder:
        root = pathlib.Path(holder)
        make_inputs(root)
        run("morph", "run", root / "spec.toml", "--out", root / "run")
        hybrid = root / "run/hybrid"
        # The harness writes none without an end.
        config = json.loads((hybrid / "tokenizer_config.json").read_text())
        (hybrid / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<k63>"}))
        (hybrid / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ")
        reference = Reference(hybrid)
        server = Server(BIN / "morph", hybrid, "--slots", 3, "--queue", 30, "--max-sequences", 30, "--context", 256, "--chunk", CHUNK)
        try:
            client = client_of(server.url)
            check_prompts(client, reference)
            check_several(client, server.url, hybrid)
            check_bounds(client, server.url)
            check_harness(root, server.url, hybrid, reference)
        finally:
            code = server.stop()
        assert code == 0


if __name__ == "__main__":
    main()
