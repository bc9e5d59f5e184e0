// SPDX-License-Identifier: Apache-2.0
// morph generate: text from any Hugging Face folder, word by word.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/Machine.h"
#include "tools/morph/SpecArguments.h"

#include <iostream>
#include <iterator>
#include <memory>

using namespace morph;

namespace {

struct Arguments {
  std::string model, prompt, promptFile, device = "cpu";
  int64_t maxTokens = 64, seed = 0;
  double temperature = 0, topP = 1;
  bool chat = false, json = false;
};

/// The text to continue: of the argument, of a file, or of standard input.
StatusOr<std::string> readPrompt(const Arguments &arguments) {
  if (arguments.promptFile.empty())
    return arguments.prompt;
  if (arguments.promptFile != "-")
    return readTextFile(arguments.promptFile);
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

Status generate(const Toolchain &tools, const Arguments &arguments) {
  std::error_code error;
  if (!fs::is_directory(arguments.model, error))
    return Status::invalid("no such model folder: " + arguments.model,
                           "expected a folder with config.json, *.safetensors and tokenizer.json");
  MORPH_ASSIGN_OR_RETURN(const std::string target, targetOf(tools, arguments.device));
  const Compiler compiler(tools, target);
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
  Command tokenise{{python, script, "encode", "--model", arguments.model, "--prompt-file", prompt, "--out", tokens}};
  if (arguments.chat)
    tokenise.arguments.push_back("--chat");
  MORPH_ASSIGN_OR_RETURN(const ProcessResult encoded, runProcess(tokenise));
  MORPH_RETURN_IF_ERROR(toStatus(encoded, tokenise));

  const fs::path ir = folder.path() / "model.mlir", plan = folder.path() / "decode.json";
  MORPH_RETURN_IF_ERROR(compiler.importModel(arguments.model, "", ir));
  MORPH_RETURN_IF_ERROR(compiler.emitPlan(ir, "decode", "", plan));
  const Command run{{runtime, "generate", "--plan", "decode=" + plan.string(), "--weights", arguments.model, "--prompt",
                     tokens, "--max-tokens", std::to_string(arguments.maxTokens), "--temperature",
                     std::to_string(arguments.temperature), "--top-p", std::to_string(arguments.topP), "--seed",
                     std::to_string(arguments.seed), "--device", arguments.device}};
  Command print{{python, script, "decode", "--model", arguments.model}};
  if (arguments.json)
    print.arguments.insert(print.arguments.end(), {"--json", "--prompt-file", prompt});
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runPipe(run, print));
  return toStatus(result, run);
}

} // namespace

void morph::addGenerateCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App *command = app.add_subcommand("generate", "Continue a prompt");
  command->add_option("MODEL", arguments->model, "The folder, a base model's or a hybrid's")->required();
  CLI::Option *prompt = command->add_option("--prompt", arguments->prompt, "The text to continue");
  CLI::Option *file =
      command->add_option("--prompt-file", arguments->promptFile, "A file that holds it; -: standard input");
  prompt->excludes(file);
  command->add_option("--max-tokens", arguments->maxTokens, "Tokens at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--temperature", arguments->temperature, "0: the most likely token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--top-p", arguments->topP, "Of the tokens the most likely of this share")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "Of what is drawn")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  addDeviceArgument(*command, arguments->device);
  command->add_flag("--chat", arguments->chat, "The prompt is a user's message: use the model's chat template");
  command->add_flag("--json", arguments->json, "Print JSON at the end: prompt, text, tokens");
  command->callback([&action, arguments, prompt, file] {
    if (prompt->empty() && file->empty())
      throw CLI::RequiredError("--prompt or --prompt-file");
    action = [arguments](const Toolchain &tools) { return generate(tools, *arguments); };
  });
}
