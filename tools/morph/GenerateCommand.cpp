// SPDX-License-Identifier: Apache-2.0
// morph generate: text from a base's or a hybrid's folder, word by word.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/FolderArguments.h"
#include "tools/morph/Validators.h"

#include <iostream>
#include <iterator>
#include <memory>

using namespace morph;

namespace {

struct GenerateArguments {
  FolderArguments folder;
  SamplingArguments sampling;
  std::string prompt, promptFile;
  int64_t maxTokens = 64;
  bool chat = false, json = false;
};

/// The text to continue: of the argument, of a file, or of standard input.
StatusOr<std::string> readPrompt(const GenerateArguments &arguments) {
  if (arguments.promptFile.empty())
    return arguments.prompt;
  if (arguments.promptFile != "-")
    return readTextFile(arguments.promptFile);
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

Status generate(const Toolchain &tools, const GenerateArguments &arguments) {
  MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools.program("morph-run"));
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("text/prompt.py"));
  MORPH_ASSIGN_OR_RETURN(const std::string text, readPrompt(arguments));
  if (text.empty())
    return Status::invalid("the prompt is empty", "give some text to continue");
  // Between the programs the prompt goes by files: an argument holds 128 KiB at most, and may look like a flag.
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  const std::string prompt = folder.path() / "prompt.txt", tokens = folder.path() / "prompt.json";
  MORPH_RETURN_IF_ERROR(writeFile(prompt, text));
  Command tokenise{{python, script, "encode", "--model", arguments.folder.model, "--prompt-file", prompt,
                    "--max-tokens", std::to_string(arguments.maxTokens), "--out", tokens}};
  if (arguments.chat)
    tokenise.arguments.push_back("--chat");
  MORPH_ASSIGN_OR_RETURN(const std::vector<std::string> program,
                         compileFolder(tools, arguments.folder, "decode", "positions=true", folder.path()));
  MORPH_ASSIGN_OR_RETURN(const ProcessResult encoded, runProcess(tokenise));
  MORPH_RETURN_IF_ERROR(toStatus(encoded, tokenise));

  Command run{{runtime, "generate", "--prompt", tokens, "--max-tokens", std::to_string(arguments.maxTokens)}};
  for (const std::vector<std::string> &more : {program, arguments.sampling.flags()})
    run.arguments.insert(run.arguments.end(), more.begin(), more.end());
  Command print{{python, script, "decode", "--model", arguments.folder.model}};
  if (!arguments.chat) // An answer begins a text of its own.
    print.arguments.insert(print.arguments.end(), {"--after", tokens});
  if (arguments.json)
    print.arguments.insert(print.arguments.end(), {"--json", "--prompt-file", prompt});
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runPipe(run, print));
  return toStatus(result, run);
}

} // namespace

void morph::addGenerateCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<GenerateArguments>();
  CLI::App *command = app.add_subcommand("generate", "Continue a prompt");
  addFolderArguments(*command, arguments->folder);
  CLI::Option *prompt = command->add_option("--prompt", arguments->prompt, "The text to continue");
  CLI::Option *file =
      command->add_option("--prompt-file", arguments->promptFile, "A file that holds it; -: standard input");
  prompt->excludes(file);
  command->add_option("--max-tokens", arguments->maxTokens, "Tokens at most")
      ->check(aboveZero())
      ->capture_default_str();
  addSamplingArguments(*command, arguments->sampling);
  command->add_flag("--chat", arguments->chat, "The prompt is a user's message: use the model's chat template");
  command->add_flag("--json", arguments->json, "Print JSON at the end: prompt, text, tokens");
  command->callback([&action, arguments, prompt, file] {
    if (prompt->empty() && file->empty())
      throw CLI::RequiredError("--prompt or --prompt-file");
    action = [arguments](const Toolchain &tools) { return generate(tools, *arguments); };
  });
}
