// SPDX-License-Identifier: Apache-2.0
// morph serve and morph chat: a model's folder behind HTTP, or in a terminal. Both start a Python front
// (tools/python/serve), which starts the engine (runtime/serve).

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/FolderArguments.h"
#include "tools/morph/Validators.h"

#include <memory>

using namespace morph;

namespace {

/// What the engine is told, of both commands.
struct EngineArguments {
  FolderArguments folder;
  int64_t threads = 0, slots = 8, chunk = 512, prefixCache = 512, context = 0;
  double memoryLimit = 0;
};

/// What a front is told: flags with their values.
using Flags = std::vector<std::string>;

void addEngineArguments(CLI::App &command, EngineArguments &arguments) {
  addFolderArguments(command, arguments.folder);
  command.add_option("--threads", arguments.threads, "CPU threads (default: all cores)")->check(aboveZero());
  command
      .add_option("--prefix-cache-mb", arguments.prefixCache, "States of texts that are kept, least recently used out")
      ->check(aboveZero(/*orEqual=*/true))
      ->capture_default_str();
  command
      .add_option("--context", arguments.context,
                  "Tokens of a sequence at most, prompt and answer (default: the model's, at most 8192)")
      ->check(aboveZero());
  command
      .add_option("--memory-limit", arguments.memoryLimit,
                  "GB that the sequences' states may take (default: what is free)")
      ->check(aboveZero());
}

Status runFront(const Toolchain &tools, const EngineArguments &arguments, const char *front, const Flags &flags) {
  MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools.program("morph-run"));
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script(front));
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  MORPH_ASSIGN_OR_RETURN(const Flags program,
                         compileFolder(tools, arguments.folder, "decode", "positions=true", folder.path()));
  Command command{{python, script, "--model", arguments.folder.model}};
  auto add = [&](const Flags &more) { command.arguments.insert(command.arguments.end(), more.begin(), more.end()); };
  add(flags);
  if (arguments.context > 0)
    add({"--context", std::to_string(arguments.context)});
  add({"--", runtime, "serve", "--slots", std::to_string(arguments.slots), "--chunk", std::to_string(arguments.chunk),
       "--prefix-cache-mb", std::to_string(arguments.prefixCache)});
  add(program);
  if (arguments.threads > 0)
    add({"--threads", std::to_string(arguments.threads)});
  if (arguments.memoryLimit > 0)
    add({"--memory-limit", std::to_string(arguments.memoryLimit)});
  return runHelper(command);
}

struct ServeArguments {
  EngineArguments engine;
  std::string host = "127.0.0.1", keyFile, name;
  int64_t port = 8000, bodyKb = 1024, maxTokens = 4096, sequences = 64, queue = 64;
  double timeout = 600, grace = 20;
  bool keepsAnswers = false;
};

struct ChatArguments {
  EngineArguments engine;
  SamplingArguments sampling{.temperature = 0.7};
  int64_t maxTokens = 1024;
  bool showsCounts = false;
};

} // namespace

void morph::addServeCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App *command = app.add_subcommand(
      "serve", "OpenAI's completions and chat completions over HTTP, of a base's or a hybrid's folder");
  addEngineArguments(*command, arguments->engine);
  command->add_option("--slots", arguments->engine.slots, "Sequences that run at once")
      ->check(CLI::Range(int64_t(1), int64_t(4096)))
      ->capture_default_str();
  command
      ->add_option("--chunk", arguments->engine.chunk,
                   "Tokens of a prompt that are read between two steps of the others")
      ->check(CLI::Range(int64_t(1), int64_t(512)))
      ->capture_default_str();
  command->add_flag("--keep-answers", arguments->keepsAnswers,
                    "A chat's next turn begins where the last answer ended: sooner, and the same but for rounding");
  command->add_option("--host", arguments->host, "Where to listen; others than this machine's own need an API key")
      ->capture_default_str();
  command->add_option("--port", arguments->port, "The port; 0: any that is free")
      ->check(CLI::Range(int64_t(0), int64_t(65535)))
      ->capture_default_str();
  command->add_option("--api-key-file", arguments->keyFile,
                      "A file whose first line clients must give as their API key (default: MORPH_API_KEY, if set)");
  command->add_option("--name", arguments->name, "The model's name (default: the folder's)");
  command->add_option("--max-body-kb", arguments->bodyKb, "A request's kilobytes at most")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 16))
      ->capture_default_str();
  command->add_option("--max-tokens", arguments->maxTokens, "An answer's tokens at most")
      ->check(aboveZero())
      ->capture_default_str();
  command
      ->add_option("--max-sequences", arguments->sequences,
                   "Sequences of a request at most: its prompts times the answers to each")
      ->check(aboveZero())
      ->capture_default_str();
  command->add_option("--queue", arguments->queue, "Sequences that wait for a slot at most")
      ->check(aboveZero(/*orEqual=*/true))
      ->capture_default_str();
  command->add_option("--timeout-s", arguments->timeout, "Seconds from a request's acceptance to its last token")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str();
  command->add_option("--grace-s", arguments->grace, "Seconds for what is running after SIGTERM or Ctrl-C")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) {
      const ServeArguments &a = *arguments;
      Flags flags = {"--host",          a.host,
                     "--port",          std::to_string(a.port),
                     "--max-body-kb",   std::to_string(a.bodyKb),
                     "--max-tokens",    std::to_string(a.maxTokens),
                     "--max-sequences", std::to_string(a.sequences),
                     "--queue",         std::to_string(a.queue),
                     "--timeout-s",     std::to_string(a.timeout),
                     "--grace-s",       std::to_string(a.grace)};
      if (!a.keyFile.empty())
        flags.insert(flags.end(), {"--api-key-file", a.keyFile});
      if (a.keepsAnswers)
        flags.push_back("--keep-answers");
      if (!a.name.empty())
        flags.insert(flags.end(), {"--name", a.name});
      return runFront(tools, a.engine, "serve/server.py", flags);
    };
  });
}

void morph::addChatCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<ChatArguments>();
  arguments->engine.slots = 1;
  CLI::App *command = app.add_subcommand("chat", "A conversation with a model that has a chat template");
  addEngineArguments(*command, arguments->engine);
  command->add_option("--max-tokens", arguments->maxTokens, "An answer's tokens at most")
      ->check(aboveZero())
      ->capture_default_str();
  addSamplingArguments(*command, arguments->sampling);
  command->add_flag("--show-counts", arguments->showsCounts,
                    "Say of each turn how many tokens it has, and how many were kept");
  command->footer("/reset begins anew, /exit or the end of the input ends it, Ctrl-C stops an answer.");
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) {
      const ChatArguments &a = *arguments;
      Flags flags = a.sampling.flags();
      flags.insert(flags.end(), {"--max-tokens", std::to_string(a.maxTokens)});
      if (a.showsCounts)
        flags.push_back("--show-counts");
      return runFront(tools, a.engine, "serve/chat.py", flags);
    };
  });
}
