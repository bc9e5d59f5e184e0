// SPDX-License-Identifier: Apache-2.0
// morph eval: cross-entropy of a base's or a hybrid's folder on a file of token ids.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/FolderArguments.h"
#include "tools/morph/Validators.h"

#include <memory>

using namespace morph;

namespace {

struct EvalArguments {
  FolderArguments folder;
  std::string tokens, tokenType = "u16", perToken;
  int64_t documents = 0, begin = -1, length = 0;
  bool json = false;
};

Status evaluate(const Toolchain &tools, const EvalArguments &arguments) {
  std::error_code error;
  if (!fs::exists(arguments.tokens, error))
    return Status::invalid("no such token file: " + arguments.tokens);
  MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools.program("morph-run"));
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  MORPH_ASSIGN_OR_RETURN(const std::vector<std::string> program,
                         compileFolder(tools, arguments.folder, "read", "", folder.path()));
  Command command{{runtime, "eval", "--tokens", arguments.tokens, "--token-dtype", arguments.tokenType, "--length",
                   std::to_string(arguments.length)}};
  command.arguments.insert(command.arguments.end(), program.begin(), program.end());
  auto add = [&](const char *name, const std::string &value) {
    command.arguments.insert(command.arguments.end(), {name, value});
  };
  if (arguments.documents > 0)
    add("--documents", std::to_string(arguments.documents));
  if (arguments.begin >= 0)
    add("--begin", std::to_string(arguments.begin));
  if (!arguments.perToken.empty())
    add("--per-token", arguments.perToken);
  if (arguments.json)
    command.arguments.push_back("--json");
  return runHelper(command);
}

} // namespace

void morph::addEvalCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App *command = app.add_subcommand("eval", "Cross-entropy and perplexity of a Hugging Face folder on token ids");
  addFolderArguments(*command, arguments->folder);
  command->add_option("--tokens", arguments->tokens, "File of token ids, little endian")->required();
  command->add_option("--token-dtype", arguments->tokenType, "Type of an id")
      ->check(CLI::IsMember({"u16", "u32"}))
      ->capture_default_str();
  CLI::Option *documents =
      command->add_option("--documents", arguments->documents, "Read only the first N documents")->check(aboveZero());
  CLI::Option *begin = command->add_option("--begin", arguments->begin, "Id with which a document begins")
                           ->check(aboveZero(/*orEqual=*/true));
  documents->needs(begin);
  command->add_option("--length", arguments->length, "Tokens of a sequence; a document is cut to it")
      ->required()
      ->check(CLI::Range(int64_t(2), int64_t(1) << 30));
  command->add_option("--per-token", arguments->perToken,
                      "Write each target's log-probability to this safetensors file");
  command->add_flag("--json", arguments->json, "Print JSON: cross_entropy, perplexity, tokens");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return evaluate(tools, *arguments); }; });
}
