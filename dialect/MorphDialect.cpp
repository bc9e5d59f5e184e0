// SPDX-License-Identifier: Apache-2.0
// Registration of the dialect's attributes and ops.

#include "dialect/MorphDialect.h"

#include "dialect/MorphAttrs.h"
#include "dialect/MorphOps.h"

using namespace mlir;
using namespace morph;

#include "dialect/MorphDialect.cpp.inc"

void MorphDialect::initialize() {
  registerMorphAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialect/MorphOps.cpp.inc"
      >();
}
