// SPDX-License-Identifier: Apache-2.0
// How specs and passes name a declared mixer with its options: `gated_deltanet(conv = 4)`, `mixers/mine.morph:mine`.

#ifndef MORPH_DIALECT_MIXERREFERENCE_H
#define MORPH_DIALECT_MIXERREFERENCE_H

#include "dialect/Expression.h"
#include "dialect/MorphOps.h"

#include "llvm/Support/JSON.h"

namespace morph {

struct MixerReference {
  std::string path; ///< Of the file that declares it; empty for a mixer that comes with Morph, or is in the model.
  std::string name;
  std::vector<std::pair<std::string, Expression>> options; ///< In their order; numbers, `true` or `false`.
};

/// Parses a reference. On failure `message` says why.
std::optional<MixerReference> parseMixerReference(llvm::StringRef text, std::string &message);

/// The text of a reference: parsed, it gives the same.
std::string printMixerReference(const MixerReference &reference);

/// All options of a declared mixer: those of the reference, the defaults for the others. Reports an error through
/// `emitError` where the reference has an option that the mixer lacks, or a value that it does not take.
mlir::FailureOr<mlir::DictionaryAttr> makeMixerOptions(MixerOp mixer, const MixerReference &reference,
                                                       llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// An option's value as JSON: a number or a truth value.
llvm::json::Value optionToJson(mlir::Attribute value);

/// A value as an option of the kind and range that is declared; null where it does not fit.
mlir::TypedAttr makeMixerOption(MixerOptionAttr option, double value);

} // namespace morph

#endif // MORPH_DIALECT_MIXERREFERENCE_H
