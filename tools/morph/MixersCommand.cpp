// SPDX-License-Identifier: Apache-2.0
// morph mixers: the mixers that can take the place of full attention, with what they cost in a model.
// morph fmt: `.morph` files in their canonical text.

#include "runtime/base/AtomicFile.h"
#include "runtime/base/File.h"
#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/Files.h"
#include "tools/morph/Report.h"

#include <cstdio>

namespace morph {

namespace {

struct MixersArguments {
  std::string model;
  int64_t context = 32768;
  bool json = false;
};

/// "64", "1e-05", "true".
std::string toText(const Json &value) {
  return value.is_number_float() && value.get<double>() == static_cast<double>(value.get<int64_t>())
             ? std::to_string(value.get<int64_t>())
             : value.dump();
}

/// "chunk = 64 (1 to 1024), conv = 0 (0 or 2 to 16)"
std::string describeOptions(const Json &options) {
  std::string text;
  for (const Json &option : options) {
    std::string ranges;
    const Json &bounds = option["ranges"];
    for (size_t i = 0; i + 1 < bounds.size(); i += 2)
      ranges += (ranges.empty() ? "" : " or ") + toText(bounds[i]) +
                (bounds[i] == bounds[i + 1] ? "" : " to " + toText(bounds[i + 1]));
    text += (text.empty() ? "" : ", ") + option["name"].get<std::string>() + " = " + toText(option["default"]) +
            (ranges.empty() ? "" : " (" + ranges + ")");
  }
  return text.empty() ? "-" : text;
}

void print(const Json &mixers, const std::string &model, int64_t context) {
  std::printf("A layer of %s, one sequence at %lld tokens, options at their defaults (--model FOLDER: of another):\n\n",
              model.c_str(), static_cast<long long>(context));
  Table table({"mixer", "parameters", "state", "FLOPs a token", "options"});
  for (const Json &mixer : mixers)
    if (mixer.contains("error"))
      table.add({mixer["name"], "-", "-", "-", mixer["error"]});
    else
      table.add({mixer["name"], formatCount(mixer["parameters"]), formatBytes(mixer["state_bytes"]),
                 formatCount(mixer["flops_per_token"]), describeOptions(mixer["options"])});
  std::printf("%s", table.print().c_str());
}

Status listMixers(const Toolchain &tools, const MixersArguments &arguments) {
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  const fs::path ir = folder.path() / "base.mlir";
  const std::string model =
      arguments.model.empty() ? tools.sourceFolder + "/specs/models/tiny-recall" : arguments.model;
  MORPH_RETURN_IF_ERROR(compiler.importModel(model, "", ir, /*configOnly=*/true));
  MORPH_ASSIGN_OR_RETURN(const Json mixers, compiler.mixers(ir, arguments.context));
  if (arguments.json)
    std::printf("%s\n", mixers.dump(2).c_str());
  else
    print(mixers, model, arguments.context);
  return Status();
}

struct FormatArguments {
  std::vector<std::string> files;
  bool check = false;
};

Status formatFiles(const Toolchain &tools, const FormatArguments &arguments) {
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  std::string different;
  for (const std::string &file : arguments.files) {
    const fs::path formatted = folder.path() / "formatted.morph";
    MORPH_RETURN_IF_ERROR(compiler.formatMixers(file, formatted));
    MORPH_ASSIGN_OR_RETURN(const std::string before, readTextFile(file));
    MORPH_ASSIGN_OR_RETURN(const std::string after, readTextFile(formatted.string()));
    if (before == after)
      continue;
    different += (different.empty() ? "" : ", ") + file;
    if (!arguments.check)
      MORPH_RETURN_IF_ERROR(writeFile(file, after));
  }
  if (arguments.check && !different.empty())
    return Status::failed("not in their canonical text: " + different, "morph fmt writes it");
  return Status();
}

} // namespace

void addMixersCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<MixersArguments>();
  CLI::App *command =
      app.add_subcommand("mixers", "List the mixers that can replace full attention, and what they cost in a model");
  command->add_option("MODEL,--model", arguments->model,
                      "Hugging Face folder of a base, whose config.json is read (default: the embedded base)");
  command->add_option("--context", arguments->context, "Tokens of the context (default: 32768)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30));
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return listMixers(tools, *arguments); }; });
}

void addFormatCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<FormatArguments>();
  CLI::App *command = app.add_subcommand("fmt", "Write .morph files in their canonical text");
  command->add_option("FILES", arguments->files, "The files")->required();
  command->add_flag("--check", arguments->check, "Write nothing; exit code 1 where a file would change");
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) { return formatFiles(tools, *arguments); };
  });
}

} // namespace morph
