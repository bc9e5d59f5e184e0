# SPDX-License-Identifier: Apache-2.0
"""Requests of OpenAI's API as what the engine takes; what they may not ask for is an ApiError that names the parameter."""

import contextlib
import dataclasses
import hashlib
import json
import secrets


class ApiError(Exception):
    """An error in OpenAI's shape."""

    def __init__(self, status, message, param=None, code=None):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def body(self):
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


# Stop strings and how long they are: OpenAI's limit is four; an answer's end is held back as long as they are.
MOST_STOPS, LONGEST_STOP = 16, 256
MOST_MESSAGES = 4096
SEED_BITS = 63
# Of the likeliest tokens that are told beside each: the engine's own limit (runtime/serve/Sampler.h).
MOST_LIKELY = 20

# What would change the answer, with the values that do not: OpenAI's fields, then those that other servers add.
UNSUPPORTED = {
    "suffix": ("",), "presence_penalty": (0,), "frequency_penalty": (0,),
    "logit_bias": ({},), "tools": ([],), "functions": ([],), "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (), "prediction": (),
    "top_k": (0, -1), "min_p": (0,), "repetition_penalty": (1,), "length_penalty": (1,), "min_tokens": (0,), "ignore_eos": (False,),
    "use_beam_search": (False,), "logprob_token_ids": (),
}
# What is read, and what changes no answer.
FIELDS = {"model", "prompt", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "stream",
          "stream_options", "logprobs", "top_logprobs", "n", "best_of", "echo", "user", "metadata", "store",
          "service_tier", "parallel_tool_calls", "chat_template_kwargs", *UNSUPPORTED}
# What of a template's variables is not the client's to give: what the request itself is, and what would be another template.
OWN_VARIABLES = ("messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template", "tokenize")


@dataclasses.dataclass
class GenerationRequest:
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None  # None: each sequence has one of its own
    stop: list[str]
    stream: bool
    includes_usage: bool
    n: int  # answers to each prompt
    echo: bool
    logprobs: int | None  # how many of the likeliest tokens are told beside each; None: nothing is told of tokens

    def seed_of(self, answer):
        """The seed of a prompt's answer of that number: of the first the request's own, so that it is the same alone."""
        if self.seed is None:
            return secrets.randbits(SEED_BITS)
        if answer == 0:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"{self.seed} {answer}".encode()).digest()[:8], "big", signed=True)


def take(body, name, kinds, default, low=None, high=None):
    """A member of the body, null where it is left out."""
    value = body.get(name)
    if value is None:
        return default
    # A bool is an int to Python, not to JSON.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array", dict: "an object"}
        raise ApiError(400, f"'{name}' must be {names[kinds[0]]}", name, "invalid_type")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise ApiError(400, f"'{name}' must be " + (f"{low}" if low == high else f"from {low} to {high}"), name, "invalid_value")
    return value


def read_generation(body, is_chat):
    for name, harmless in UNSUPPORTED.items():
        value = body.get(name)
        if value is not None and value not in harmless:
            raise ApiError(400, f"'{name}' is not supported" + (f" other than as {json.dumps(harmless[0])}" if harmless else ""), name,
                           "unsupported")
    for name in body:
        if name not in FIELDS:
            raise ApiError(400, f"'{str(name)[:100]}' is no field that is known here, and would change nothing", str(name)[:100],
                           "unknown_parameter")
    stop = body.get("stop")
    stop = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if (not isinstance(stop, list) or len(stop) > MOST_STOPS
            or not all(isinstance(text, str) and 0 < len(text) <= LONGEST_STOP for text in stop)):
        raise ApiError(400, f"'stop' must be a string or at most {MOST_STOPS} strings of 1 to {LONGEST_STOP} characters", "stop",
                       "invalid_value")
    n = take(body, "n", (int,), 1, 1, 2**31)
    if take(body, "best_of", (int,), n) != n:
        raise ApiError(400, "'best_of' is not supported other than as 'n'", "best_of", "unsupported")
    echo = take(body, "echo", (bool,), False)
    if echo and is_chat:
        raise ApiError(400, "'echo' is not supported of chats", "echo", "unsupported")
    if body.get("chat_template_kwargs") and not is_chat:
        raise ApiError(400, "'chat_template_kwargs' are a chat's: a completion has no template", "chat_template_kwargs",
                       "unsupported")
    most = take(body, "max_tokens", (int,), None, 0, 2**31)
    if is_chat:
        most = take(body, "max_completion_tokens", (int,), most, 0, 2**31)
    if most == 0 and not echo:
        raise ApiError(400, "'max_tokens' must be 1 or more, or 0 with 'echo'", "max_tokens", "invalid_value")
    temperature = float(take(body, "temperature", (float, int), 1.0, 0, 2))
    top_p = float(take(body, "top_p", (float, int), 1.0, 0, 1))
    if is_chat:
        likely = take(body, "top_logprobs", (int,), None, 0, MOST_LIKELY)
        if take(body, "logprobs", (bool,), False):
            logprobs = likely or 0
        elif likely:
            raise ApiError(400, "'top_logprobs' needs 'logprobs' to be true", "top_logprobs", "invalid_value")
        else:
            logprobs = None
    else:
        logprobs = take(body, "logprobs", (int,), None, 0, MOST_LIKELY)
        if body.get("top_logprobs"):
            raise ApiError(400, "'top_logprobs' is a chat's; of completions 'logprobs' is the number", "top_logprobs", "unsupported")
    options = take(body, "stream_options", (dict,), {})
    seed = take(body, "seed", (int,), None, -(2**63), 2**63 - 1)
    return GenerationRequest(
        max_tokens=most, temperature=temperature, top_p=top_p or 1e-9, seed=seed, stop=stop,
        stream=take(body, "stream", (bool,), False), includes_usage=take(options, "include_usage", (bool,), False),
        n=n, echo=echo, logprobs=logprobs)


def read_prompts(body):
    """The prompts of a request, each with the parameter's name for it: texts, or arrays of token ids, one or several."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(one, (str, list)) for one in prompt):
        prompts = {f"prompt[{i}]": one for i, one in enumerate(prompt)}
    else:
        prompts = {"prompt": prompt}
    for param, one in prompts.items():
        is_ids = isinstance(one, list) and all(isinstance(i, int) and not isinstance(i, bool) for i in one)
        if not isinstance(one, str) and not is_ids:
            raise ApiError(400, "'prompt' must be a text or an array of token ids, or an array of such", param, "invalid_type")
        if not one:
            raise ApiError(400, "the prompt is empty" if param == "prompt" else f"'{param}' is empty", param, "invalid_value")
    return prompts


def read_calls(calls, param):
    """What a message has called, as templates read it: OpenAI has the arguments as a text of JSON, templates as the object."""
    if not isinstance(calls, list):
        raise ApiError(400, f"'{param}' must be an array", param, "invalid_type")
    read = []
    for i, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        name = f"{param}[{i}]"
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ApiError(400, f"'{name}' must be an object with a function that has a name", name, "invalid_type")
        arguments = function.get("arguments")
        arguments = {} if arguments in (None, "") else arguments
        if isinstance(arguments, str):
            with contextlib.suppress(ValueError, RecursionError):
                arguments = json.loads(arguments)
        if not isinstance(arguments, dict):
            name += ".function.arguments"
            raise ApiError(400, f"'{name}' must be an object, or the JSON of one", name, "invalid_value")
        read.append(call | {"function": function | {"arguments": arguments}})
    return read


def read_messages(body):
    """The messages of a chat, each with all that it has: what of it is read is up to the model's template."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not 0 < len(messages) <= MOST_MESSAGES:
        raise ApiError(400, f"'messages' must be an array of 1 to {MOST_MESSAGES} messages", "messages", "invalid_type")
    read = []
    for i, message in enumerate(messages):
        param = f"messages[{i}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ApiError(400, f"'{param}' must be an object with a role", param, "invalid_type")
        content = message.get("content")
        if isinstance(content, list):  # parts: only texts can be read
            if not all(isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content):
                raise ApiError(400, f"'{param}.content' may have parts of the type 'text' only", param, "unsupported")
            content = "".join(part["text"] for part in content)
        calls = message.get("tool_calls")
        calls = None if calls is None else read_calls(calls, f"{param}.tool_calls")
        # What has called something need not say anything; what has called nothing has no such member, by which templates go.
        if not isinstance(content, str) and not (content is None and calls):
            raise ApiError(400, f"'{param}.content' must be a text", param, "invalid_type")
        read.append(message | {"content": content, "tool_calls": calls or None})
    return read


def read_variables(body):
    """What a chat's template is given beside the messages, as `enable_thinking`."""
    variables = take(body, "chat_template_kwargs", (dict,), {})
    for name in OWN_VARIABLES:
        if name in variables:
            param = f"chat_template_kwargs.{name}"
            raise ApiError(400, f"'{param}' is not supported", param, "unsupported")
    return variables
