// SPDX-License-Identifier: Apache-2.0
// Names in plans that mean something to whoever makes, checks or runs them: the compiler and the runtime spell them
// here and nowhere else.

#ifndef MORPH_RUNTIME_PLAN_NAMES_H
#define MORPH_RUNTIME_PLAN_NAMES_H

#include <string_view>

namespace morph::plan {

/// The sum of gradients of a weight: an input that a program adds to, an output where nobody adds them up, and an input
/// of the update.
inline constexpr char kGradientPrefix[] = "grad.";
/// AdamW's moments of a weight: inputs of the update, which writes them in place.
inline constexpr char kFirstMomentPrefix[] = "exp_avg.", kSecondMomentPrefix[] = "exp_avg_sq.";
/// The share of a batch in its step, a scalar that a program multiplies its gradients by; the rate and number of a
/// step, scalars that the update takes, and the norm of the gradients, which it gives.
inline constexpr char kShare[] = "share", kRate[] = "rate", kStep[] = "step", kNorm[] = "norm";
/// [B,T], of each position of a window the one where its document begins: an input of programs that separate documents.
inline constexpr char kBegins[] = "begins";
/// The low-rank adapter of the matrix `<module>.weight` [O,I]: its update is `up` [O,R] times `down` [R,I].
inline constexpr char kAdapterDown[] = ".lora_A.weight", kAdapterUp[] = ".lora_B.weight";
/// A cache or state of a layer's mixer in `decode`: `cache.<layer>.<state>`, written in place.
inline constexpr char kCachePrefix[] = "cache.";

inline bool hasPrefix(std::string_view name, std::string_view prefix) {
  return name.substr(0, prefix.size()) == prefix;
}

/// Whether a size of an input may have this name: a letter, then letters and digits, 16 characters at most.
inline bool isSizeName(std::string_view name) {
  auto isLetter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (name.empty() || name.size() > 16 || !isLetter(name.front()))
    return false;
  for (char c : name)
    if (!isLetter(c) && !(c >= '0' && c <= '9'))
      return false;
  return true;
}

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_NAMES_H
