// SPDX-License-Identifier: Apache-2.0
// A table of what mixers cost on a machine, as `morph bench mixers` measures it.

#ifndef MORPH_FRONTENDS_SPEC_COSTTABLE_H
#define MORPH_FRONTENDS_SPEC_COSTTABLE_H

#include "frontends/Diagnostics.h"
#include "frontends/ModelConfig.h"

#include <map>
#include <optional>

namespace morph::spec {

struct CostTable {
  std::map<std::string, int64_t> sizes; ///< Of the model that was measured: "hidden", "heads", ...
  std::string precision;                ///< Element type of its products: "fp32" or "bf16".
  std::vector<double> contexts;         ///< Rising.
  /// Seconds of a token beside its mixers: `head` once, `layer` for each layer.
  double head = 0, layer = 0;
  struct Mixer {
    std::string declaration;     ///< digestDeclaration of a mixer of a file; empty for one that comes with Morph.
    std::vector<double> seconds; ///< Of a layer at each context.
  };
  std::map<std::string, Mixer> mixers; ///< By reference, without the file.

  /// How the measured model differs from another in its sizes: "hidden is 64, expected 128"; empty where it does not.
  std::string differenceFrom(const ModelConfig &model) const;
  double fixedSeconds(int64_t layers) const { return head + layer * double(layers); }
  /// Seconds of a layer's mixer at a context, between two measured contexts by a straight line; nothing, and why in
  /// `message`, where the table does not say.
  std::optional<double> secondsOf(const std::string &reference, llvm::StringRef declaration, double context,
                                  std::string &message) const;
};

/// Reads a table: {"version": 1, "model": {"hidden": n, "heads": n, "kv_heads": n, "head_dim": n, "ffn": n, "vocab":
/// n}, "precision": "bf16", "contexts": [...], "fixed": {"head": s, "layer": s}, "mixers": [{"mixer": "mine(rank = 4)",
/// "declaration": digest of a mixer of a file, "seconds": [...]}, ...]}; other members are for people. It is not
/// trusted. Reports errors; `usedAt` is where it is named.
std::optional<CostTable> readCostTable(llvm::StringRef path, Diagnostics &diagnostics, SourceRange usedAt);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_COSTTABLE_H
