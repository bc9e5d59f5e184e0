// SPDX-License-Identifier: Apache-2.0
// What of a run's tasks can be known to fail before its first step.

#include "runtime/train/Stages.h"

namespace morph {

Status checkTasks(const StageContext &context) {
  MORPH_ASSIGN_OR_RETURN(const auto text, context.text());
  for (const char *name : {"align", "select", "distill", "finetune", "evaluate"}) {
    SpecReader section(context.spec, name);
    const bool trains = std::string(name) != "evaluate";
    const int64_t steps = section.integer("steps", 0), length = section.integer("length", 0);
    const double fraction = section.number("task_fraction", 1);
    const bool longDocuments = section.flag("long_documents", false);
    const std::vector<std::string> names = section.texts("tasks");
    std::vector<int64_t> lengths = trains ? std::vector<int64_t>() : section.integers("lengths");
    MORPH_RETURN_IF_ERROR(section.status());
    if (trains && steps == 0)
      continue;
    if (trains && text && (fraction < 1 || names.empty()) && length > text->tokenCount(TextStore::Part::Training))
      return Status::invalid(std::string(name) + ".length is " + std::to_string(length) +
                                 ", but the text to train on has " +
                                 std::to_string(text->tokenCount(TextStore::Part::Training)) + " tokens",
                             "give more files in data.text, or a shorter length");
    if (trains && text && (fraction < 1 || names.empty()) && longDocuments)
      MORPH_RETURN_IF_ERROR(text->checkInsideDocuments(length).withContext(name));
    if (names.empty())
      continue;
    if (trains && length > 0)
      lengths = {length};
    MORPH_ASSIGN_OR_RETURN(const auto tasks, context.tasks(names, text));
    for (const auto &task : tasks)
      for (int64_t tokens : lengths.empty() ? task->lengths() : lengths)
        MORPH_RETURN_IF_ERROR(task->checkLength(tokens).withContext(name));
  }
  return Status();
}

} // namespace morph
