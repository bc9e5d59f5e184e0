// SPDX-License-Identifier: Apache-2.0
// How specs and passes name a declared mixer with its options: `gated_deltanet(conv = 4)`, `sliding_window(128)`,
// `mixers/mine.morph:mine`.

#ifndef MORPH_DIALECT_MIXERREFERENCE_H
#define MORPH_DIALECT_MIXERREFERENCE_H

#include "dialect/Expression.h"
#include "dialect/MorphOps.h"

#include "llvm/Support/JSON.h"

namespace morph {

struct MixerReference {
  std::string path; ///< Of the file that declares it; empty for a mixer that comes with Morph, or is in the model.
  std::string name;
  /// In their order; numbers, `true` or `false`. First those without names, in the order in which they are declared.
  std::vector<std::pair<std::string, Expression>> options;
};

/// Parses a reference. On failure `message` says why.
std::optional<MixerReference> parseMixerReference(llvm::StringRef text, std::string &message);

/// The text of a reference: parsed, it gives the same.
std::string printMixerReference(const MixerReference &reference);

/// All options of a declared mixer: those of the reference, whose options all get their names, the defaults for the
/// others. Reports an error through `emitError` where the reference has an option that the mixer lacks, or twice, or a
/// value that it does not take.
mlir::FailureOr<mlir::DictionaryAttr> makeMixerOptions(MixerOp mixer, MixerReference &reference,
                                                       llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// An option's value as JSON: a number or a truth value.
llvm::json::Value optionToJson(mlir::Attribute value);

/// A value as an option of the kind and range that is declared; null where it does not fit.
mlir::TypedAttr makeMixerOption(MixerOptionAttr option, double value);

} // namespace morph

#endif // MORPH_DIALECT_MIXERREFERENCE_H
