// SPDX-License-Identifier: Apache-2.0
// ProcessGroupGloo.hpp includes it by this name.
#include <gloo/context.h>
