// SPDX-License-Identifier: Apache-2.0
// Losses, measures and their gradients. Legend: N rows, V vocabulary. A row of logits is read from memory once; the
// further passes over it hit the cache.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/LossLoops.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/SumOverProcesses.h"

#include <algorithm>
#include <functional>
#include <limits>

namespace morph {

namespace {

std::vector<at::Tensor> tokenNllReference(const KernelCall &call) {
  return {-at::log_softmax(call.operands[0], 1).gather(1, call.operands[1].unsqueeze(1)).squeeze(1)};
}

void tokenNll(const KernelCall &call) {
  const at::Tensor &logits_NV = call.operands[0], &targets_N = call.operands[1], &nll_N = call.results[0];
  int64_t rows = logits_NV.size(0), width = logits_NV.size(1);
  TORCH_CHECK(targets_N.numel() == rows, "targets ", targets_N.sizes(), " for logits ", logits_NV.sizes());
  const int64_t *target = targets_N.const_data_ptr<int64_t>();
  withType(logits_NV, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *x = logits_NV.const_data_ptr<T>();
    T *out = nll_N.mutable_data_ptr<T>();
    forRows(rows, width, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const LogSumExp<T> sum = logSumExpRow(x + n * width, width);
        out[n] = sum.rest + (sum.greatest - x[n * width + target[n]]);
      }
    });
  });
}

void tokenNllGrad(const KernelCall &call) {
  const at::Tensor &dy_N = call.operands[0], &logits_NV = call.operands[1];
  const at::Tensor &targets_N = call.operands[2], &result_NV = call.results[0];
  int64_t rows = logits_NV.size(0), width = logits_NV.size(1);
  TORCH_CHECK(targets_N.numel() == rows && dy_N.numel() == rows, "dy ", dy_N.sizes(), " for logits ",
              logits_NV.sizes());
  const int64_t *target = targets_N.const_data_ptr<int64_t>();
  withType(logits_NV, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *dy = dy_N.const_data_ptr<T>(), *x = logits_NV.const_data_ptr<T>();
    T *out = result_NV.mutable_data_ptr<T>();
    forRows(rows, width, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const T *row = x + n * width;
        softmaxRow(row, out + n * width, width, logSumExpRow(row, width), dy[n]);
        out[n * width + target[n]] -= dy[n];
      }
    });
  });
}

std::vector<at::Tensor> klDivergenceReference(const KernelCall &call) {
  at::Tensor p = at::log_softmax(call.operands[0].detach(), 1), q = at::log_softmax(call.operands[1], 1);
  return {(p.exp() * (p - q)).sum(1)};
}

/// Calls body(n, teacher, student, width, teacherSum, studentSum) for every row of the logits [N,V] of both, with their
/// LogSumExp.
template <typename Body>
void forLogitPairs(const at::Tensor &teacher_NV, const at::Tensor &student_NV, const Body &body) {
  TORCH_CHECK(teacher_NV.sizes() == student_NV.sizes(), "teacher ", teacher_NV.sizes(), ", student ",
              student_NV.sizes());
  const int64_t rows = student_NV.size(0), width = student_NV.size(1);
  withType(student_NV, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *p = teacher_NV.const_data_ptr<T>(), *q = student_NV.const_data_ptr<T>();
    forRows(rows, width, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const T *teacher = p + n * width, *student = q + n * width;
        body(n, teacher, student, width, logSumExpRow(teacher, width), logSumExpRow(student, width));
      }
    });
  });
}

void klDivergence(const KernelCall &call) {
  void *const out = call.results[0].mutable_data_ptr();
  forLogitPairs(call.operands[0], call.operands[1],
                [&](int64_t n, auto *teacher, auto *student, int64_t width, auto teacherSum, auto studentSum) {
                  static_cast<decltype(teacherSum.rest) *>(out)[n] =
                      klRow(teacher, student, width, teacherSum, studentSum);
                });
}

void klDivergenceGrad(const KernelCall &call) {
  const at::Tensor &dy_N = call.operands[0], &student_NV = call.operands[2];
  TORCH_CHECK(dy_N.numel() == student_NV.size(0), "dy ", dy_N.sizes(), " for logits ", student_NV.sizes());
  const void *const dy = dy_N.const_data_ptr();
  void *const out = call.results[0].mutable_data_ptr();
  forLogitPairs(call.operands[1], student_NV,
                [&](int64_t n, auto *teacher, auto *student, int64_t width, auto teacherSum, auto studentSum) {
                  using T = decltype(teacherSum.rest);
                  klGradRow(teacher, student, static_cast<T *>(out) + n * width, width, teacherSum, studentSum,
                            static_cast<const T *>(dy)[n]);
                });
}

std::vector<at::Tensor> reverseKlDivergenceReference(const KernelCall &call) {
  at::Tensor p = at::log_softmax(call.operands[0].detach(), 1), q = at::log_softmax(call.operands[1], 1);
  return {(q.exp() * (q - p)).sum(1)};
}

void reverseKlDivergence(const KernelCall &call) {
  void *const out = call.results[0].mutable_data_ptr();
  forLogitPairs(call.operands[0], call.operands[1],
                [&](int64_t n, auto *teacher, auto *student, int64_t width, auto teacherSum, auto studentSum) {
                  static_cast<decltype(teacherSum.rest) *>(out)[n] =
                      klRow(student, teacher, width, studentSum, teacherSum);
                });
}

void reverseKlDivergenceGrad(const KernelCall &call) {
  const at::Tensor &dy_N = call.operands[0], &student_NV = call.operands[2];
  TORCH_CHECK(dy_N.numel() == student_NV.size(0), "dy ", dy_N.sizes(), " for logits ", student_NV.sizes());
  const void *const dy = dy_N.const_data_ptr();
  void *const out = call.results[0].mutable_data_ptr();
  forLogitPairs(call.operands[1], student_NV,
                [&](int64_t n, auto *teacher, auto *student, int64_t width, auto teacherSum, auto studentSum) {
                  using T = decltype(teacherSum.rest);
                  reverseKlGradRow(teacher, student, static_cast<T *>(out) + n * width, width, teacherSum, studentSum,
                                   klRow(student, teacher, width, studentSum, teacherSum),
                                   static_cast<const T *>(dy)[n]);
                });
}

/// What keep_top takes off the greatest logit of a row for those that it leaves out.
constexpr double kLeftOut = 200;

void keepTop(const KernelCall &call) {
  const at::Tensor &logits_NV = call.operands[0], &result_NV = call.results[0];
  const int64_t rows = logits_NV.size(0), width = logits_NV.size(1), count = call.integer("count");
  withType(logits_NV, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *x = logits_NV.const_data_ptr<T>();
    T *y = result_NV.mutable_data_ptr<T>();
    forRows(rows, width, [&](int64_t begin, int64_t end) {
      std::vector<T> sorted(static_cast<size_t>(width));
      for (int64_t n = begin; n < end; ++n) {
        const T *row = x + n * width;
        std::copy_n(row, width, sorted.begin());
        std::nth_element(sorted.begin(), sorted.begin() + (count - 1), sorted.end(), std::greater<T>());
        const T least = sorted[static_cast<size_t>(count - 1)];
        const T leftOut = *std::max_element(sorted.begin(), sorted.begin() + count) - T(kLeftOut);
        for (int64_t i = 0; i < width; ++i)
          y[n * width + i] = row[i] < least ? leftOut : row[i];
      }
    });
  });
}

std::vector<at::Tensor> correct(const KernelCall &call) {
  const at::Tensor &logits_NV = call.operands[0];
  return {at::argmax(logits_NV, 1).eq(call.operands[1]).to(logits_NV.scalar_type())};
}

/// What squared_error divides the sum of squares by. A target of zeros counts as the least positive number, not as
/// zero. Of a part of a batch whose other parts other processes have, the squares are the whole batch's.
double denominatorOf(const at::Tensor &target, const std::string &normalize) {
  if (normalize == "mean")
    return static_cast<double>(target.numel());
  if (normalize == "rows")
    return static_cast<double>(target.numel() / target.size(-1));
  double sum = withType(target, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *data = target.const_data_ptr<T>();
    return sumBlocks(target.numel(),
                     [&](int64_t begin, int64_t end) { return squaredNorm(data + begin, end - begin); });
  });
  return std::max(SumOverProcesses::of(sum), static_cast<double>(std::numeric_limits<float>::min()));
}

std::vector<at::Tensor> squaredErrorReference(const KernelCall &call) {
  const at::Tensor target = call.operands[1].detach().contiguous();
  return {(call.operands[0] - target).square().sum() / denominatorOf(target, call.text("normalize"))};
}

void squaredError(const KernelCall &call) {
  const at::Tensor &x = call.operands[0], &target = call.operands[1];
  const double denominator = denominatorOf(target, call.text("normalize"));
  TORCH_CHECK(x.sizes() == target.sizes(), "x ", x.sizes(), ", target ", target.sizes());
  double sum = withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *a = x.const_data_ptr<T>(), *b = target.const_data_ptr<T>();
    return sumBlocks(x.numel(),
                     [&](int64_t begin, int64_t end) { return squaredDistance(a + begin, b + begin, end - begin); });
  });
  call.results[0].fill_(sum / denominator);
}

void squaredErrorGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1], &target = call.operands[2];
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *a = x.const_data_ptr<T>(), *b = target.const_data_ptr<T>();
    T *result = call.results[0].mutable_data_ptr<T>();
    const T factor = static_cast<T>(2 * static_cast<double>(*dy.const_data_ptr<T>()) /
                                    denominatorOf(target, call.text("normalize")));
    forRows(x.numel(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        result[i] = factor * (a[i] - b[i]);
    });
  });
}

std::vector<at::Tensor> weightedMeanReference(const KernelCall &call) {
  const at::Tensor weights = call.operands[1].detach();
  return {(call.operands[0] * weights).sum() / weights.sum()};
}

/// The sum of an array that is a number a row.
template <typename T> double sumOf(const T *values, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += static_cast<double>(values[i]);
  return sum;
}

void weightedMean(const KernelCall &call) {
  const at::Tensor &x_N = call.operands[0], &weights_N = call.operands[1];
  withType(x_N, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *x = x_N.const_data_ptr<T>(), *weights = weights_N.const_data_ptr<T>();
    double sum = 0;
    for (int64_t n = 0; n < x_N.numel(); ++n)
      sum += static_cast<double>(weights[n]) * static_cast<double>(x[n]);
    *call.results[0].mutable_data_ptr<T>() = static_cast<T>(sum / sumOf(weights, weights_N.numel()));
  });
}

void weightedMeanGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &weights_N = call.operands[1];
  withType(weights_N, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *weights = weights_N.const_data_ptr<T>();
    T *out = call.results[0].mutable_data_ptr<T>();
    const double factor = static_cast<double>(*dy.const_data_ptr<T>()) / sumOf(weights, weights_N.numel());
    for (int64_t n = 0; n < weights_N.numel(); ++n)
      out[n] = static_cast<T>(static_cast<double>(weights[n]) * factor);
  });
}

const KernelRegistration tokenNllRegistration("token_nll", {tokenNll, tokenNllReference});
const KernelRegistration tokenNllGradRegistration("token_nll_grad", {tokenNllGrad});
const KernelRegistration klDivergenceRegistration("kl_divergence", {klDivergence, klDivergenceReference});
const KernelRegistration klDivergenceGradRegistration("kl_divergence_grad", {klDivergenceGrad});
const KernelRegistration reverseKlDivergenceRegistration("reverse_kl_divergence",
                                                         {reverseKlDivergence, reverseKlDivergenceReference});
const KernelRegistration reverseKlDivergenceGradRegistration("reverse_kl_divergence_grad", {reverseKlDivergenceGrad});
const KernelRegistration keepTopRegistration("keep_top", {keepTop});
const KernelRegistration correctRegistration("correct", {runByCopy<correct>, correct});
const KernelRegistration squaredErrorRegistration("squared_error", {squaredError, squaredErrorReference});
const KernelRegistration squaredErrorGradRegistration("squared_error_grad", {squaredErrorGrad});
const KernelRegistration weightedMeanRegistration("weighted_mean", {weightedMean, weightedMeanReference});
const KernelRegistration weightedMeanGradRegistration("weighted_mean_grad", {weightedMeanGrad});

} // namespace

} // namespace morph
