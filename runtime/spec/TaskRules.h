// SPDX-License-Identifier: Apache-2.0
// What a run does with its tasks that follows from the spec alone: for those who make samples and those who count them.

#ifndef MORPH_RUNTIME_SPEC_TASKRULES_H
#define MORPH_RUNTIME_SPEC_TASKRULES_H

#include "runtime/spec/Spec.h"

#include <algorithm>

namespace morph {

/// The lengths that sequences have in which these tasks come in turn: a batch has one, and so it is the first task's,
/// whatever the others say (BatchStream). Empty: none is named, or there is no such task.
inline std::vector<int64_t> mixedLengths(const std::vector<TaskSpec> &tasks, const std::vector<std::string> &names) {
  const auto first = std::find_if(tasks.begin(), tasks.end(),
                                  [&](const TaskSpec &task) { return !names.empty() && task.name == names.front(); });
  return first == tasks.end() ? std::vector<int64_t>() : first->length;
}

/// Whether what such a task asks for lies at a depth that can be chosen (TaskGenerator::hasDepths).
inline bool hasDepths(TaskSpec::Kind kind) {
  return kind != TaskSpec::Kind::CommonWords && kind != TaskSpec::Kind::FrequentWords &&
         kind != TaskSpec::Kind::Jsonl && kind != TaskSpec::Kind::Qa;
}

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_TASKRULES_H
