// SPDX-License-Identifier: Apache-2.0
// The score of selector halo, apart from how its numbers are measured.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_HALO_H
#define MORPH_RUNTIME_TRAIN_SELECT_HALO_H

#include "runtime/train/HeldOut.h"

#include <vector>

namespace morph {

/// HALO's score of each model with one layer linear (arXiv 2601.22156; the formula is in Halo.cpp), from the shares of
/// right tokens on task samples and on text, [model][sample], at least one model and one sample of each; the standard
/// error is the bootstrap's over both, whose draws are the same on every machine.
std::vector<MeanAndError> haloScores(const std::vector<std::vector<double>> &recall,
                                     const std::vector<std::vector<double>> &ability);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_HALO_H
