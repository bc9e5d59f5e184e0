// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Pieces.h"

#include "runtime/plan/InferShapes.h"
#include "runtime/plan/SizeLimits.h"

#include <algorithm>

namespace morph::plan {

static std::string printShape(const std::vector<int64_t> &shape) {
  return shapeText(std::vector<Dim>(shape.begin(), shape.end()));
}

std::vector<int64_t> sourceShape(const Weight &weight) {
  std::vector<int64_t> shape = weight.shape;
  if (weight.init->kind == "repeat_heads")
    shape[0] /= weight.init->times;
  return shape;
}

Status checkPieces(const std::vector<int64_t> &shape, const std::vector<Piece> &pieces) {
  int64_t rows = 0;
  bool known = true;
  for (const Piece &piece : pieces) {
    if (piece.tensor.empty())
      return Status::invalid("a piece names no tensor");
    if ((piece.begin != 0 || piece.end != 0) &&
        (piece.begin < 0 || piece.begin >= piece.end || piece.end > limits::kWeightElements))
      return Status::invalid("the rows of the piece '" + piece.tensor + "' are " + std::to_string(piece.begin) +
                             " to " + std::to_string(piece.end) + ", expected a begin and a greater end");
    known = known && piece.end != 0;
    rows += piece.end - piece.begin;
    if (rows > limits::kWeightElements)
      return Status::invalid("the pieces have more than " + std::to_string(limits::kWeightElements) + " rows");
  }
  if (!known || pieces.empty())
    return Status();
  int64_t first = 1;
  for (int64_t size : shape)
    if ((first *= size) == rows)
      return Status();
  return Status::invalid("the pieces have " + std::to_string(rows) +
                         " rows, expected the product of the first dimensions of " + printShape(shape));
}

Status checkPieceShapes(const std::vector<int64_t> &shape, const std::vector<Piece> &pieces,
                        const std::vector<std::vector<int64_t>> &tensors) {
  int64_t elements = 1, given = 0;
  for (int64_t size : shape)
    elements *= size;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::vector<int64_t> &tensor = tensors[i];
    const std::string what = "the tensor '" + pieces[i].tensor + "' has shape " + printShape(tensor);
    if (tensor.empty() || tensor.size() > shape.size() ||
        !std::equal(tensor.rbegin(), tensor.rend() - 1, shape.rbegin()))
      return Status::invalid(what + ", expected one whose dimensions after the first are the last ones of " +
                             printShape(shape));
    if (pieces[i].end > tensor[0])
      return Status::invalid(what + ", expected " + std::to_string(pieces[i].end) + " rows or more");
    int64_t count = pieces[i].end ? pieces[i].end - pieces[i].begin : tensor[0];
    for (size_t d = 1; d < tensor.size(); ++d)
      count *= tensor[d];
    given += count;
    if (given > elements)
      return Status::invalid(what + ", with which the pieces have more elements than " + printShape(shape));
  }
  if (given != elements)
    return Status::invalid("the pieces of '" + pieces.front().tensor + "' and others have " + std::to_string(given) +
                           " elements together, expected the " + std::to_string(elements) + " of " + printShape(shape));
  return Status();
}

} // namespace morph::plan
