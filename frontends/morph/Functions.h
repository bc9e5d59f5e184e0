// SPDX-License-Identifier: Apache-2.0
// The functions of tensors in the mixer language: one table.

#ifndef MORPH_FRONTENDS_MORPH_FUNCTIONS_H
#define MORPH_FRONTENDS_MORPH_FUNCTIONS_H

#include "dialect/Expression.h"
#include "frontends/morph/Types.h"

#include <map>

namespace morph::language {

/// What an argument may be.
struct ArgumentForm {
  ValueKind kind = ValueKind::Scalar;
  bool anyBefore = false;        ///< Any number of sizes may stand before those of `shape`.
  std::vector<Expression> shape; ///< Of the mixer's M, H, G and D and of the function's own sizes.
};

struct Parameter {
  std::string name;
  std::vector<ArgumentForm> forms; ///< Any of them.
  std::string size;                ///< The function's own size that the argument, a size, gives; or empty.
  bool onlyByName = false;
  bool required = true;
  std::optional<Expression> fallback; ///< What an absent argument stands for; nothing: the function goes without.
};

struct TensorFunction {
  std::string name;
  std::string signature; ///< As in the table.
  std::string summary;
  bool isElementwise = false; ///< An op of one operand, of the op table.
  std::vector<Parameter> parameters;
  /// An activation where any argument is one, else a weight; of a statistic a weight.
  ArgumentForm result;
  std::string divisor, dividend; ///< The function's own size that must divide another; or empty.

  /// Whether it sums up an activation over batch and positions, which only `calibrate` may.
  bool isStatistic() const { return result.kind == ValueKind::Weight; }
};

/// All functions by name: those of the table, and the op table's elementwise ops of one operand.
const std::map<std::string, TensorFunction> &getTensorFunctions();

/// The function of a name, or null.
const TensorFunction *findTensorFunction(llvm::StringRef name);

/// Arguments of a function that are given both or not at all.
llvm::ArrayRef<std::pair<llvm::StringRef, llvm::StringRef>> getArgumentPairs(llvm::StringRef name);

/// The weights that a function brings with it, as `base_q` does `q_proj.weight`.
llvm::ArrayRef<llvm::StringRef> getWeightsOfFunction(llvm::StringRef name);

/// What the names of weights begin with that a function makes for each size that it meets, as `shift` does its filters;
/// empty where it makes none.
llvm::StringRef getMadeWeightPrefix(llvm::StringRef name);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_FUNCTIONS_H
