// SPDX-License-Identifier: Apache-2.0
// Op interfaces: generated code.

#include "dialect/MorphInterfaces.h"

using namespace mlir;
using namespace morph;

#include "dialect/MorphInterfaces.cpp.inc"
