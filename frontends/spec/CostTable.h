// SPDX-License-Identifier: Apache-2.0
// A table of what mixers cost on a machine, as `morph bench mixers` measures it.

#ifndef MORPH_FRONTENDS_SPEC_COSTTABLE_H
#define MORPH_FRONTENDS_SPEC_COSTTABLE_H

#include "frontends/Diagnostics.h"

#include <map>
#include <optional>

namespace morph::spec {

struct CostTable {
  std::vector<double> contexts; ///< Rising.
  /// Seconds of a token beside its mixers: `head` once, `layer` for each layer.
  double head = 0, layer = 0;
  std::map<std::string, std::vector<double>> mixers; ///< By reference: seconds of a layer at each context.

  double fixedSeconds(int64_t layers) const { return head + layer * double(layers); }
  /// Seconds of a layer's mixer at a context, between two measured contexts by a straight line; nothing, and why in
  /// `message`, where the table does not say.
  std::optional<double> secondsOf(const std::string &reference, double context, std::string &message) const;
};

/// Reads a table: {"version": 1, "contexts": [...], "fixed": {"head": s, "layer": s}, "mixers": [{"mixer": "full",
/// "seconds": [...]}, ...]}. It is not trusted. Reports errors; `usedAt` is where it is named.
std::optional<CostTable> readCostTable(llvm::StringRef path, Diagnostics &diagnostics, SourceRange usedAt);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_COSTTABLE_H
