// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Schedule.h"

#include <algorithm>
#include <cmath>

namespace morph {

int64_t Schedule::rise() const { return kind == Kind::WarmFlatCooldown ? std::max<int64_t>(1, steps / 5) : warmup; }

double Schedule::rate(int64_t step) const {
  const int64_t rise = this->rise();
  if (step < rise)
    return peak * static_cast<double>(step + 1) / static_cast<double>(rise);
  switch (kind) {
  case Kind::Constant:
    return peak;
  case Kind::Cosine:
  case Kind::Linear: {
    // The first step after the warm-up has the peak, the last step the end value.
    const double span = static_cast<double>(std::max<int64_t>(1, steps - 1 - rise));
    const double progress = std::min(1.0, static_cast<double>(step - rise) / span);
    const double share = kind == Kind::Linear ? 1 - progress : 0.5 * (1 + std::cos(M_PI * progress));
    return end + (peak - end) * share;
  }
  case Kind::WarmFlatCooldown: {
    const int64_t fall = std::max<int64_t>(1, steps / 5);
    const int64_t begin = steps - fall;
    if (step < begin)
      return peak;
    const double progress = std::min(1.0, static_cast<double>(step - begin + 1) / static_cast<double>(fall));
    return peak + (end - peak) * progress;
  }
  }
  return peak;
}

} // namespace morph
