// SPDX-License-Identifier: Apache-2.0
// What of a run's tasks can be known to fail before its first step.

#include "runtime/base/Log.h"
#include "runtime/spec/TaskRules.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/Selector.h"

namespace morph {

Status checkTasks(const StageContext &context) {
  const ResolvedSpec &spec = context.spec;
  MORPH_ASSIGN_OR_RETURN(const auto text, context.text());
  // `lengths` empty: the tasks' own.
  const auto checkRoom = [&](const char *stage, const std::vector<std::string> &names,
                             const std::vector<int64_t> &lengths) -> Status {
    MORPH_ASSIGN_OR_RETURN(const auto tasks, context.tasks(names, text));
    for (const auto &task : tasks)
      for (int64_t tokens : lengths.empty() ? task->lengths() : lengths)
        MORPH_RETURN_IF_ERROR(task->checkLength(tokens).withContext(stage));
    return Status();
  };
  const auto reads = [](const TrainingSpec &section) {
    return section.steps > 0 && (section.taskFraction < 1 || section.tasks.empty());
  };
  const std::pair<const char *, const TrainingSpec &> stages[] = {
      {"align", spec.align}, {"distill", spec.distill}, {"finetune", spec.finetune}};
  for (const auto &[name, section] : stages) {
    if (section.steps == 0)
      continue;
    if (text && reads(section)) {
      const int64_t tokens = text->tokenCount(Split::Training);
      if (section.length > tokens)
        return Status::invalid(std::string(name) + ".length is " + std::to_string(section.length) +
                                   ", but the text to train on has " + std::to_string(tokens) + " tokens",
                               "give more files in data.text, or a shorter length");
      if (&section == &spec.finetune && spec.finetune.longDocuments)
        MORPH_RETURN_IF_ERROR(text->checkInsideDocuments(section.length).withContext(name));
    }
    std::vector<int64_t> lengths = {section.length};
    // Of text alone they may be shorter.
    if (&section == &spec.distill && section.taskFraction > 0)
      lengths.insert(lengths.end(), spec.distill.lengths.begin(), spec.distill.lengths.end());
    if (&section == &spec.finetune && section.taskFraction > 0)
      lengths.insert(lengths.end(), spec.finetune.lengths.begin(), spec.finetune.lengths.end());
    MORPH_RETURN_IF_ERROR(checkRoom(name, section.tasks, lengths));
  }
  MORPH_RETURN_IF_ERROR(checkRoom("select", spec.select.tasks, mixedLengths(spec.tasks, spec.select.tasks)));
  if (spec.audit)
    MORPH_RETURN_IF_ERROR(checkRoom("audit", spec.audit->tasks, {}));
  if (text && text->tokenCount(Split::Selection) == 0 && (reads(spec.align) || reads(spec.distill)))
    logWarning("data", "of the text nothing is held out: losses on held-out text are of text that is trained on");
  MORPH_RETURN_IF_ERROR(checkSelectors(spec));
  return checkRoom("evaluate", spec.evaluate.tasks, spec.evaluate.lengths);
}

} // namespace morph
