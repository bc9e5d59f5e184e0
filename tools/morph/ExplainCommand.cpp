// SPDX-License-Identifier: Apache-2.0
// morph explain: what the label of an error, or a key of specs, stands for.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"

#include <cstdio>

using namespace morph;

namespace {

struct ExplainArguments {
  std::string label;
  bool json = false;
};

std::string describeConstraint(const Json &constraint) {
  const std::string where = constraint["where"], subject = constraint["subject"];
  const std::string text = constraint["text"];
  std::string line = constraint["label"];
  if (where == "key")
    line += line.empty() ? subject : ", the key " + subject;
  else if (where == "ir")
    line += ", " + subject + " of the IR";
  line += ": " + text + (text.back() == '.' ? "" : ".");
  if (where == "spec" && !subject.empty())
    line += "\n  keys: " + subject;
  return line;
}

Status explain(const Toolchain &tools, const ExplainArguments &arguments) {
  MORPH_ASSIGN_OR_RETURN(const Json constraints, Compiler(tools).explain(arguments.label));
  if (arguments.json)
    std::printf("%s\n", constraints.dump(2).c_str());
  else
    for (const Json &constraint : constraints)
      std::printf("%s\n", describeConstraint(constraint).c_str());
  return Status();
}

} // namespace

void morph::addExplainCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<ExplainArguments>();
  CLI::App *command =
      app.add_subcommand("explain", "Say what the label in an error's brackets stands for, or a key of specs");
  command->add_option("LABEL", arguments->label, "The label or key: S14, model_c3, align.batch")->required();
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return explain(tools, *arguments); }; });
}
