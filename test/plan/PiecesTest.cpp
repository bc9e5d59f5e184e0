// SPDX-License-Identifier: Apache-2.0
// Which tensors of a checkpoint make a weight.
#include "runtime/plan/Pieces.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

std::string errorOf(const std::vector<int64_t> &shape, const std::vector<plan::Piece> &pieces,
                    const std::vector<std::vector<int64_t>> &tensors) {
  Status status = plan::checkPieces(shape, pieces);
  if (status.ok())
    status = plan::checkPieceShapes(shape, pieces, tensors);
  return status.message();
}

TEST(PiecesTest, WhatFits) {
  EXPECT_EQ(errorOf({4, 8}, {{"a", 2, 6}}, {{10, 8}}), "");
  EXPECT_EQ(errorOf({4, 8}, {{"a"}}, {{4, 8}}), "");
  EXPECT_EQ(errorOf({4, 8}, {{"a"}, {"b", 5, 6}}, {{3, 8}, {9, 8}}), "");
  EXPECT_EQ(errorOf({2, 3, 8}, {{"a"}, {"b"}}, {{3, 8}, {3, 8}}), "");
  EXPECT_EQ(errorOf({2, 3, 8}, {{"a", 0, 3}, {"b", 3, 6}}, {{6, 8}, {6, 8}}), "");
  EXPECT_EQ(errorOf({6}, {{"a", 0, 2}, {"b"}}, {{5}, {4}}), "");
}

TEST(PiecesTest, WhatDoesNot) {
  EXPECT_EQ(errorOf({4, 8}, {{"a", 2, 6}}, {{5, 8}}), "the tensor 'a' has shape [5,8], expected 6 rows or more");
  EXPECT_EQ(errorOf({4, 8}, {{"a"}}, {{4, 9}}),
            "the tensor 'a' has shape [4,9], expected one whose dimensions after the first are the last ones of [4,8]");
  EXPECT_EQ(errorOf({4, 8}, {{"a"}}, {{}}),
            "the tensor 'a' has shape [], expected one whose dimensions after the first are the last ones of [4,8]");
  EXPECT_EQ(errorOf({2, 3, 8}, {{"a"}, {"b"}}, {{3, 8}, {4, 8}}),
            "the tensor 'b' has shape [4,8], with which the pieces have more elements than [2,3,8]");
  EXPECT_EQ(errorOf({2, 3, 8}, {{"a"}}, {{3, 8}}),
            "the pieces of 'a' and others have 24 elements together, expected the 48 of [2,3,8]");
  EXPECT_EQ(errorOf({4, 8}, {{"a", 3, 3}}, {{8, 8}}),
            "the rows of the piece 'a' are 3 to 3, expected a begin and a greater end");
  EXPECT_EQ(errorOf({4, 8}, {{"a", 0, 3}}, {{8, 8}}),
            "the pieces have 3 rows, expected the product of the first dimensions of [4,8]");
  EXPECT_EQ(errorOf({4, 8}, {{""}}, {{4, 8}}), "a piece names no tensor");
}

} // namespace
} // namespace morph
