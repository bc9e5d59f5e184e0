// SPDX-License-Identifier: Apache-2.0

#include "frontends/spec/TaskRoom.h"

using namespace morph::spec;

int64_t morph::spec::getTaskTokens(const TaskShape &task) {
  // Tokens around a needle's key and value, and of the prefix and the question.
  const int64_t text = task.words ? 1 : 0;
  const int64_t needle = text + 1 + task.valueTokens;
  if (task.kind == "variable_tracking") {
    // A chain sets a key to the value, and each further key to the one before; the answer repeats the value and names
    // the keys.
    const int64_t chain = needle + (task.hops - 1) * (text + 2);
    return 2 * text + task.needles * chain + task.valueTokens + task.hops;
  }
  if (task.kind == "niah_multi_value")
    return 2 * text + task.needles * needle + 1 + task.needles * task.valueTokens;
  const bool asksAll = task.kind == "passkeys" || task.kind == "mqar";
  const int64_t asked = asksAll ? task.needles : task.queries;
  return 2 * text + task.needles * needle + asked * (1 + task.valueTokens);
}

int64_t morph::spec::getTaskKeys(const TaskShape &task) {
  if (task.kind == "niah_multi_value")
    return 1;
  return task.kind == "variable_tracking" ? task.needles * task.hops : task.needles;
}
