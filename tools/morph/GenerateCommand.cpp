// SPDX-License-Identifier: Apache-2.0
// morph generate: text from any Hugging Face folder, word by word.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"

#include <memory>

using namespace morph;

namespace {

struct Arguments {
  std::string model, prompt;
  int64_t maxTokens = 64;
  bool chat = false, json = false;
};

/// "1,2,3" of a JSON array of integers.
std::string joinIds(const Json &ids) {
  std::string text;
  for (const Json &id : ids)
    text += (text.empty() ? "" : ",") + std::to_string(id.get<int64_t>());
  return text;
}

Status generate(const Toolchain &tools, const Arguments &arguments) {
  std::error_code error;
  if (!fs::is_directory(arguments.model, error))
    return Status::invalid("no such model folder: " + arguments.model,
                           "expected a folder with config.json, *.safetensors and tokenizer.json");
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools.program("morph-run"));
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("text/prompt.py"));
  Command tokenise{{python, script, "encode", "--model", arguments.model, "--prompt", arguments.prompt}, true};
  if (arguments.chat)
    tokenise.arguments.push_back("--chat");
  MORPH_ASSIGN_OR_RETURN(const ProcessResult encoded, runProcess(tokenise));
  MORPH_RETURN_IF_ERROR(toStatus(encoded, tokenise));
  MORPH_ASSIGN_OR_RETURN(const Json prompt, parseJson(encoded.output, "the output of prompt.py"));

  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  const fs::path ir = folder.path() / "model.mlir", plan = folder.path() / "decode.json";
  MORPH_RETURN_IF_ERROR(compiler.importModel(arguments.model, "", ir));
  MORPH_RETURN_IF_ERROR(compiler.emitPlan(ir, "decode", "", plan));
  Command run{{runtime, "generate", "--plan", "decode=" + plan.string(), "--weights", arguments.model,
               "--prompt-tokens", joinIds(prompt["tokens"]), "--max-tokens", std::to_string(arguments.maxTokens)}};
  if (!prompt["eos"].empty())
    run.arguments.insert(run.arguments.end(), {"--eos", joinIds(prompt["eos"])});
  Command print{{python, script, "decode", "--model", arguments.model}};
  if (arguments.json)
    print.arguments.insert(print.arguments.end(), {"--json", "--prompt", arguments.prompt});
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runPipe(run, print));
  return toStatus(result, run);
}

} // namespace

void morph::addGenerateCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App *command = app.add_subcommand("generate", "Continue a prompt, greedily");
  command->add_option("MODEL", arguments->model, "The folder, a base model's or a hybrid's")->required();
  command->add_option("--prompt", arguments->prompt, "The text to continue")->required();
  command->add_option("--max-tokens", arguments->maxTokens, "Tokens at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--chat", arguments->chat, "The prompt is a user's message: use the model's chat template");
  command->add_flag("--json", arguments->json, "Print JSON at the end: prompt, text, tokens");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return generate(tools, *arguments); }; });
}
