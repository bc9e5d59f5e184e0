// SPDX-License-Identifier: Apache-2.0
// Weights whose elements are those of other tensors of the checkpoint: whether they fit.

#ifndef MORPH_RUNTIME_PLAN_PIECES_H
#define MORPH_RUNTIME_PLAN_PIECES_H

#include "runtime/plan/Plan.h"

namespace morph::plan {

/// What can be said of the pieces of a weight without the checkpoint: each names a tensor, its rows are rows, and where
/// all pieces have rows these are together the product of the first dimensions of `shape`.
Status checkPieces(const std::vector<int64_t> &shape, const std::vector<Piece> &pieces);

/// The shape of what `copy` or `repeat_heads` reads.
std::vector<int64_t> sourceShape(const Weight &weight);

/// Whether tensors of the shapes `tensors`, one a piece, make a weight of `shape`: the last dimensions of each are the
/// weight's, its rows are there, and together they have the weight's elements. Expects pieces that checkPieces passes.
/// The error names the tensor that does not fit.
Status checkPieceShapes(const std::vector<int64_t> &shape, const std::vector<Piece> &pieces,
                        const std::vector<std::vector<int64_t>> &tensors);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_PIECES_H
