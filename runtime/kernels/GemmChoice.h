// SPDX-License-Identifier: Apache-2.0
// Which library serves a product. Products of one kind (types, transposes, the sizes of weights, rows up to a
// factor of two, threads) are served by the library that was fastest when the first of them on this machine was
// measured. The choices lie in a file in ${MORPH_CACHE:-~/.cache/morph}, one for each CPU, number of threads and set of
// libraries: a later process takes them from there, and gets the same bits. A process that measured takes what the file
// says by then, too, where another one was faster; the file is replaced whole, under a lock. A file that is not as it
// should be is made again. Where no file can be written, the last library of gemmLibraryList that serves the product is
// taken. Small products and those of few rows (GemmLibrary.h) are ours without a measurement.
// MORPH_PRODUCTS=own|mkl|onednn|widened-mkl|widened-onednn in the environment overrules all of this where that one
// serves the product.

#ifndef MORPH_RUNTIME_KERNELS_GEMMCHOICE_H
#define MORPH_RUNTIME_KERNELS_GEMMCHOICE_H

#include "runtime/kernels/GemmLibrary.h"

#include <map>
#include <memory>
#include <string>

namespace morph {

/// The choices of one file. Safe from several threads.
class GemmChoices {
public:
  /// `path` empty: no file.
  GemmChoices(std::string path, int threads);
  ~GemmChoices();
  /// The library for a product with sizes above 0 and strides.
  const GemmLibrary &choose(const GemmDescription &description);
  /// Products measured so far by this object.
  int64_t measured() const;

private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The file for `threads`, or an empty string where its folder cannot be made.
std::string gemmChoicesPath(int threads);

/// The choice of this process.
const GemmLibrary &chooseGemmLibrary(const GemmDescription &description, int threads);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMMCHOICE_H
