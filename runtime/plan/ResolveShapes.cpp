// SPDX-License-Identifier: Apache-2.0
// The named sizes of a plan bound to numbers.

#include "runtime/plan/InferShapes.h"

#include "runtime/plan/Workspace.h"

#include <algorithm>
#include <charconv>

namespace morph::plan {

StatusOr<int64_t> resolveDim(const Dim &dim, const std::map<std::string, int64_t> &sizes) {
  if (const int64_t *size = std::get_if<int64_t>(&dim))
    return *size;
  const std::string &name = std::get<std::string>(dim);
  if (const size_t slash = name.rfind('/'); slash != std::string::npos) {
    int64_t divisor = 0;
    std::from_chars(name.data() + slash + 1, name.data() + name.size(), divisor);
    if (divisor < 1)
      return Status::invalid("the size '" + name + "' is no size by a number");
    MORPH_ASSIGN_OR_RETURN(const int64_t size, resolveDim(Dim(name.substr(0, slash)), sizes));
    return blocksOf(size, divisor);
  }
  auto bound = sizes.find(name);
  if (bound == sizes.end())
    return Status::invalid("the size '" + name + "' is not given");
  if (bound->second < 0 || bound->second > kMaximumElements)
    return Status::invalid("the size '" + name + "' is out of range: it is " + std::to_string(bound->second));
  return bound->second;
}

StatusOr<std::vector<std::vector<int64_t>>> resolveShapes(const Plan &plan,
                                                          const std::map<std::string, int64_t> &sizes) {
  std::map<std::string, int64_t> known; // Every name is worked out once.
  std::vector<std::vector<int64_t>> shapes(plan.values.size());
  for (size_t value = 0; value < shapes.size(); ++value) {
    int64_t elements = 1;
    for (const Dim &dim : plan.values[value].shape) {
      const std::string *name = std::get_if<std::string>(&dim);
      auto found = name ? known.find(*name) : known.end();
      int64_t size = 0;
      if (found != known.end()) {
        size = found->second;
      } else {
        MORPH_ASSIGN_OR_RETURN(size, resolveDim(dim, sizes));
        if (name)
          known[*name] = size;
      }
      // A size of 0 does not make the others small: strides are computed from them all the same.
      if (elements > kMaximumElements / std::max<int64_t>(size, 1))
        return Status::invalid("value " + std::to_string(value) + " of shape " + shapeText(plan.values[value].shape) +
                                   " has more elements than can be addressed",
                               "use a smaller batch or length");
      elements *= std::max<int64_t>(size, 1);
      shapes[value].push_back(size);
    }
  }
  return shapes;
}

} // namespace morph::plan
