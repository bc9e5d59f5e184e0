// SPDX-License-Identifier: Apache-2.0
// morph selectors: how the layers that keep full attention can be chosen.

#include "runtime/choice/Selectors.h"
#include "tools/morph/Commands.h"
#include "tools/morph/Report.h"

#include <cstdio>

namespace morph {

/// What a selector measures with, in words.
static const char *describeNeeds(SelectorNeeds needs) {
  switch (needs) {
  case SelectorNeeds::Nothing:
    return "nothing";
  case SelectorNeeds::Alignment:
    return "errors of the branches";
  case SelectorNeeds::Scores:
    return "tasks";
  case SelectorNeeds::Text:
    return "text";
  case SelectorNeeds::TasksAndText:
    return "tasks and text";
  case SelectorNeeds::Gates:
    return "tasks, gradients";
  }
  return "";
}

void addSelectorsCommand(CLI::App &app, Action &action) {
  CLI::App *command = app.add_subcommand(
      "selectors", "List what select.method, evaluate.baselines and audit.selectors may name, and what each measures");
  command->callback([&action] {
    action = [](const Toolchain &) {
      Table table({"selector", "option", "measures", "keeps"}, /*left=*/4);
      for (const SelectorInfo &info : selectors())
        table.add({info.name, info.options.empty() ? "-" : info.options, describeNeeds(info.needs), info.summary});
      std::printf(
          "%s\nNAME+refine ends any of them by exchanges of layers; in [audit] %s are all offsets of uniform, and the "
          "middles\n",
          table.print().c_str(), kEveryUniform);
      return Status();
    };
  });
}

} // namespace morph
