// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/FolderArguments.h"

#include "tools/morph/Compiler.h"
#include "tools/morph/Machine.h"
#include "tools/morph/SpecArguments.h"
#include "tools/morph/Validators.h"

using namespace morph;

void morph::addFolderArguments(CLI::App &command, FolderArguments &arguments) {
  command.add_option("MODEL", arguments.model, "The folder, a base model's or a hybrid's")
      ->required()
      ->check([](const std::string &folder) {
        std::error_code error;
        return fs::is_directory(folder, error) ? std::string()
                                               : "no such model folder: " + folder +
                                                     ": expected a folder with config.json, *.safetensors and "
                                                     "tokenizer.json";
      });
  addDeviceArgument(command, arguments.device);
  command
      .add_option("--precision", arguments.precision,
                  "Element type of products, and of the keys and values that are kept")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
}

StatusOr<std::vector<std::string>> morph::compileFolder(const Toolchain &tools, const FolderArguments &arguments,
                                                        const std::string &program, const std::string &options,
                                                        const fs::path &output) {
  MORPH_ASSIGN_OR_RETURN(const std::string target, targetOf(tools, arguments.device));
  const Compiler compiler(tools, target);
  const fs::path ir = output / "model.mlir", plan = output / (program + ".json");
  MORPH_RETURN_IF_ERROR(compiler.importModel(arguments.model, "", ir));
  MORPH_RETURN_IF_ERROR(compiler.emitPlan(ir, program, "precision=" + arguments.precision + "," + options, plan));
  return std::vector<std::string>{
      "--plan", program + "=" + plan.string(), "--weights", arguments.model, "--device", arguments.device};
}

std::vector<std::string> SamplingArguments::flags() const {
  return {"--temperature", std::to_string(temperature), "--top-p", std::to_string(topP),
          "--seed",        std::to_string(seed)};
}

void morph::addSamplingArguments(CLI::App &command, SamplingArguments &arguments) {
  command.add_option("--temperature", arguments.temperature, "0: the most likely token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command
      .add_option("--top-p", arguments.topP,
                  "Draw from the likeliest tokens that have this share of the probability together")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--seed", arguments.seed, "Seed of the draws")
      ->check(aboveZero(/*orEqual=*/true))
      ->capture_default_str();
}
