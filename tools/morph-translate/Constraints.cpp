// SPDX-License-Identifier: Apache-2.0

#include "Constraints.h"

#include "frontends/spec/Schema.h"

#include "llvm/ADT/StringExtras.h"

using namespace morph;

namespace {

struct IrConstraint {
  const char *label, *subject, *text;
};
constexpr IrConstraint kIrConstraints[] = {
#include "tools/morph-translate/IrConstraints.inc"
};

/// "fp32 | bf16; default \"fp32\". Element type of products; ..."
std::string describe(const spec::Key &key) {
  std::string text = spec::getTypeName(key.type).str();
  if (!key.unit.empty())
    text += " (" + key.unit.str() + ")";
  if (!key.allowed.empty())
    text += ", " + key.allowed.str();
  const std::string fallback = key.fallback == "required" ? ", required" : ", default " + key.fallback.trim("<>").str();
  return text + fallback + ". " + key.text.str();
}

std::vector<Constraint> allConstraints() {
  std::vector<Constraint> all;
  for (const spec::CrossConstraint &constraint : spec::getCrossConstraints()) {
    std::vector<std::string> keys;
    for (const spec::Key &key : spec::getKeys())
      if (key.label == constraint.label)
        keys.push_back(key.path.str());
    all.push_back({constraint.label.str(), "spec", llvm::join(keys, ", "), constraint.text.str()});
  }
  for (const spec::Key &key : spec::getKeys())
    if (!key.label.empty() && !llvm::any_of(all, [&](const Constraint &c) { return c.label == key.label; }))
      all.push_back({key.label.str(), "key", key.path.str(), describe(key)});
  for (const IrConstraint &constraint : kIrConstraints)
    all.push_back({constraint.label, "ir", constraint.subject, constraint.text});
  return all;
}

} // namespace

std::vector<Constraint> morph::findConstraints(llvm::StringRef label) {
  std::vector<Constraint> found;
  for (Constraint &constraint : allConstraints())
    if (label.trim("[] ").equals_insensitive(constraint.label))
      found.push_back(std::move(constraint));
  for (const spec::Key &key : spec::getKeys())
    if (label.trim() == key.path)
      found.push_back({key.label.str(), "key", key.path.str(), describe(key)});
  return found;
}

std::string morph::findNearestLabel(llvm::StringRef label) {
  std::string nearest;
  unsigned least = 3; // More than two letters away it is another word.
  const auto consider = [&](llvm::StringRef name) {
    if (unsigned distance = label.trim("[] ").edit_distance_insensitive(name); distance < least) {
      least = distance;
      nearest = name.str();
    }
  };
  for (const Constraint &constraint : allConstraints())
    consider(constraint.label);
  for (const spec::Key &key : spec::getKeys())
    consider(key.path);
  return nearest;
}

llvm::json::Value morph::toJson(const std::vector<Constraint> &constraints) {
  llvm::json::Array list;
  for (const Constraint &constraint : constraints)
    list.push_back(llvm::json::Object{{"label", constraint.label},
                                      {"where", constraint.where},
                                      {"subject", constraint.subject},
                                      {"text", constraint.text}});
  return list;
}
