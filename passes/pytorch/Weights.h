// SPDX-License-Identifier: Apache-2.0
// A mixer's weights as members of a class of PyTorch, under the names that they have in a checkpoint.

#ifndef MORPH_PASSES_PYTORCH_WEIGHTS_H
#define MORPH_PASSES_PYTORCH_WEIGHTS_H

#include "passes/pytorch/Body.h"

#include <map>

namespace morph::pytorch {

/// Which members there are. A weight `q_proj.weight` that only products read is an nn.Linear, with its bias a
/// MorphLinear; one that only convolutions read an nn.Conv1d, one that only norms read a MorphRMSNorm; the others are
/// parameters.
class Weights {
public:
  static mlir::FailureOr<Weights> create(MixerExpander &expander, const Body &body);

  /// The lines of __init__ that make the members.
  std::string print(size_t indent) const;

  /// A weight as it is read.
  std::string read(MixerWeightOp weight) const;
  /// The module that a weight is the `weight` of, to be called; nothing where it is a parameter.
  std::optional<std::string> findModule(MixerWeightOp weight) const;
  /// Whether a bias is that of the module of its product's weight.
  bool isBiasOfModule(MixerWeightOp bias) const { return bias && modules.find(getPrefix(bias)) != modules.end(); }

private:
  /// A member of the class, or a part of a MorphGroup.
  struct Member {
    std::string declaration; ///< Of one that is no group.
    bool isParameter = false;
    std::vector<std::pair<std::string, Member>> parts;
  };
  using Use = std::pair<const Step *, unsigned>;

  explicit Weights(MixerExpander &expander) : expander(expander) {}
  static llvm::StringRef getPrefix(MixerWeightOp weight) { return weight.getName().rsplit('.').first; }
  mlir::LogicalResult addModules(llvm::ArrayRef<MixerWeightOp> weights);
  /// How a module is made whose `weight` this is; empty where it is none's.
  mlir::FailureOr<std::string> declareModule(MixerWeightOp weight, llvm::ArrayRef<MixerWeightOp> others);
  mlir::FailureOr<std::string> declareLinear(MixerWeightOp weight, llvm::ArrayRef<MixerWeightOp> others);
  mlir::FailureOr<std::string> declareNorm(MixerWeightOp weight);
  mlir::FailureOr<std::string> declareParameter(MixerWeightOp weight);
  mlir::LogicalResult insert(llvm::StringRef path, std::string declaration, bool isParameter);
  mlir::FailureOr<llvm::SmallVector<std::string>> printSizes(MixerWeightOp weight);
  std::string access(llvm::StringRef path) const;
  static std::string declare(const Member &member);

  MixerExpander &expander;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<Use>> uses;
  std::map<std::string, std::string, std::less<>> modules; ///< Declarations by prefix.
  Member root;
};

} // namespace morph::pytorch

#endif // MORPH_PASSES_PYTORCH_WEIGHTS_H
