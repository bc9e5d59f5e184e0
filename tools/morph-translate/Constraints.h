// SPDX-License-Identifier: Apache-2.0
// What the labels in errors stand for: constraints of spec keys, between them, and of the IR.

#ifndef MORPH_TOOLS_MORPHTRANSLATE_CONSTRAINTS_H
#define MORPH_TOOLS_MORPHTRANSLATE_CONSTRAINTS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"

#include <string>
#include <vector>

namespace morph {

struct Constraint {
  std::string label;
  std::string where;   ///< "spec", "key" or "ir".
  std::string subject; ///< The keys, with commas between, or the op or attribute.
  std::string text;
};

/// Every constraint with that label ("S14", "model_c3": one of a key and one of an op may have the same), upper and
/// lower case being one and brackets left away; or what is said of the key of that path ("align.batch"), whose label
/// may be empty.
std::vector<Constraint> findConstraints(llvm::StringRef label);
/// The label or key that is nearest to one that is not there; empty where none is near.
std::string findNearestLabel(llvm::StringRef label);

llvm::json::Value toJson(const std::vector<Constraint> &constraints);

} // namespace morph

#endif // MORPH_TOOLS_MORPHTRANSLATE_CONSTRAINTS_H
