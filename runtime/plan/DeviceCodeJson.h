// SPDX-License-Identifier: Apache-2.0
// A plan's code for a GPU as JSON.

#ifndef MORPH_RUNTIME_PLAN_DEVICECODEJSON_H
#define MORPH_RUNTIME_PLAN_DEVICECODEJSON_H

#include "runtime/base/Json.h"
#include "runtime/plan/DeviceCode.h"

namespace morph::plan {

/// Reads what printDeviceCode writes; `where` begins errors.
StatusOr<DeviceCode> readDeviceCode(const Json &json, const std::string &where);

/// One instruction a line.
std::string printDeviceCode(const DeviceCode &code);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_DEVICECODEJSON_H
