// SPDX-License-Identifier: Apache-2.0
// Losses of rows of logits on GPUs: a block a row, which it goes over once, and once more where there is a result an
// element. Legend: N rows, V vocabulary.

#include "passes/lower/cuda/ElementForms.h"

#include <limits>

using namespace mlir;
using namespace morph;

namespace {

/// log(sum(exp(x))) of a row in two parts: as one number it is rounded at the place of the row's largest element, and a
/// divergence is a difference of such logarithms.
struct LogSumExp {
  Scalar greatest, rest;

  /// The logarithm of the softmax of an element.
  Scalar logOf(Scalar x) const { return x - greatest - rest; }
};

/// The block's row of a [N,V].
struct LogitRow {
  LogitRow(KernelBuilder &k, Value pointer, int64_t width)
      : k(k), pointer(pointer), width(width), lanes(lanesOf(width)), first(k.block() * width) {}

  /// Goes over the places of the thread's vectors in a row.
  KernelBuilder::Carried over(ArrayRef<Scalar> start,
                              llvm::function_ref<KernelBuilder::Carried(Index, ArrayRef<Scalar>)> body) const {
    return k.loop(k.thread() * lanes, k.integer(width), kElementThreads * lanes, start, body);
  }
  void over(llvm::function_ref<void(Index)> body) const {
    k.loop(k.thread() * lanes, k.integer(width), kElementThreads * lanes, body);
  }
  KernelBuilder::Carried load(Index place) const { return k.loadVector(pointer, first + place, lanes); }

  /// The largest element that a thread has met is taken off as it goes; a row without a number that is finite gives not
  /// a number, as does one with an infinity.
  LogSumExp logSumExp() const {
    auto carried =
        over({k.number(-std::numeric_limits<float>::max()), k.number(0)}, [&](Index place, ArrayRef<Scalar> before) {
          KernelBuilder::Carried x = load(place);
          Scalar greatest = before[0];
          for (Scalar element : x)
            greatest = k.maximum(greatest, element);
          Scalar sum = before[1] * exp(before[0] - greatest);
          for (Scalar element : x)
            sum = sum + exp(element - greatest);
          return KernelBuilder::Carried{greatest, sum};
        });
    Scalar greatest = k.blockMax(carried[0]);
    return {greatest, log(k.blockSum(carried[1] * exp(carried[0] - greatest)))};
  }

  KernelBuilder &k;
  Value pointer;
  int64_t width, lanes;
  Index first;
};
} // namespace

/// Launches a kernel with a block a row of logits, whose type is given.
static void forRows(DeviceFormCall &call, const plan::TensorType &logits, std::vector<plan::LaunchArgument> pointers,
                    llvm::function_ref<void(KernelBuilder &, int64_t width)> build) {
  int64_t width = staticSize(logits, 1);
  std::string kernel = call.define(std::to_string(width), static_cast<unsigned>(pointers.size()), /*sizes=*/0,
                                   kElementThreads, [&](KernelBuilder &k) { build(k, width); });
  call.launch(kernel, {productOf(logits.shape[0])}, kElementThreads, std::move(pointers));
}

void morph::token_nllForm(DeviceFormCall &call) {
  forRows(call, call.operandType(0), {operandArgument(0), operandArgument(1), resultArgument(0)},
          [&](KernelBuilder &k, int64_t width) {
            LogitRow logits(k, k.pointer(0), width);
            LogSumExp sum = logits.logSumExp();
            k.onlyIf(k.thread() == 0, [&] {
              Index target = k.loadInteger(k.pointer(1), k.block());
              k.store(-sum.logOf(k.load(logits.pointer, logits.first + target)), k.pointer(2), k.block());
            });
          });
}

void morph::token_nll_gradForm(DeviceFormCall &call) {
  forRows(call, call.operandType(1), {operandArgument(0), operandArgument(1), operandArgument(2), resultArgument(0)},
          [&](KernelBuilder &k, int64_t width) {
            LogitRow logits(k, k.pointer(1), width);
            LogSumExp sum = logits.logSumExp();
            Scalar dy = k.load(k.pointer(0), k.block());
            Index target = k.loadInteger(k.pointer(2), k.block());
            // A thread writes what it alone reads: the result may lie where the logits do.
            logits.over([&](Index place) {
              KernelBuilder::Carried result;
              for (auto [lane, x] : llvm::enumerate(logits.load(place))) {
                Scalar share = dy * exp(sum.logOf(x));
                result.push_back(k.select(place + static_cast<int64_t>(lane) == target, share - dy, share));
              }
              k.storeVector(result, k.pointer(3), logits.first + place);
            });
          });
}

/// The sum over a row of p (log p - log q), p and q being the softmax of `from` and `to`.
static Scalar divergenceOf(KernelBuilder &k, const LogitRow &from, const LogSumExp &fromSum, const LogitRow &to,
                           const LogSumExp &toSum) {
  auto sums = from.over({k.number(0)}, [&](Index place, ArrayRef<Scalar> before) {
    Scalar sum = before[0];
    for (auto [f, t] : llvm::zip_equal(from.load(place), to.load(place))) {
      Scalar logP = fromSum.logOf(f), logQ = toSum.logOf(t);
      sum = sum + exp(logP) * (logP - logQ);
    }
    return KernelBuilder::Carried{sum};
  });
  return k.blockSum(sums[0]);
}

void morph::kl_divergenceForm(DeviceFormCall &call) {
  forRows(call, call.operandType(1), {operandArgument(0), operandArgument(1), resultArgument(0)},
          [&](KernelBuilder &k, int64_t width) {
            LogitRow teacher(k, k.pointer(0), width), student(k, k.pointer(1), width);
            LogSumExp teacherSum = teacher.logSumExp(), studentSum = student.logSumExp();
            Scalar sum = divergenceOf(k, teacher, teacherSum, student, studentSum);
            k.onlyIf(k.thread() == 0, [&] { k.store(sum, k.pointer(2), k.block()); });
          });
}

void morph::kl_divergence_gradForm(DeviceFormCall &call) {
  forRows(call, call.operandType(2), {operandArgument(0), operandArgument(1), operandArgument(2), resultArgument(0)},
          [&](KernelBuilder &k, int64_t width) {
            LogitRow teacher(k, k.pointer(1), width), student(k, k.pointer(2), width);
            LogSumExp teacherSum = teacher.logSumExp(), studentSum = student.logSumExp();
            Scalar dy = k.load(k.pointer(0), k.block());
            // A thread writes what it alone reads: the result may lie where the student's logits do.
            student.over([&](Index place) {
              KernelBuilder::Carried result;
              for (auto [t, s] : llvm::zip_equal(teacher.load(place), student.load(place)))
                result.push_back(dy * (exp(studentSum.logOf(s)) - exp(teacherSum.logOf(t))));
              k.storeVector(result, k.pointer(3), student.first + place);
            });
          });
}

void morph::reverse_kl_divergenceForm(DeviceFormCall &call) {
  forRows(call, call.operandType(1), {operandArgument(0), operandArgument(1), resultArgument(0)},
          [&](KernelBuilder &k, int64_t width) {
            LogitRow teacher(k, k.pointer(0), width), student(k, k.pointer(1), width);
            LogSumExp teacherSum = teacher.logSumExp(), studentSum = student.logSumExp();
            Scalar sum = divergenceOf(k, student, studentSum, teacher, teacherSum);
            k.onlyIf(k.thread() == 0, [&] { k.store(sum, k.pointer(2), k.block()); });
          });
}

void morph::reverse_kl_divergence_gradForm(DeviceFormCall &call) {
  forRows(call, call.operandType(2), {operandArgument(0), operandArgument(1), operandArgument(2), resultArgument(0)},
          [&](KernelBuilder &k, int64_t width) {
            LogitRow teacher(k, k.pointer(1), width), student(k, k.pointer(2), width);
            LogSumExp teacherSum = teacher.logSumExp(), studentSum = student.logSumExp();
            Scalar kl = divergenceOf(k, student, studentSum, teacher, teacherSum);
            Scalar dy = k.load(k.pointer(0), k.block());
            // A thread writes what it alone reads: the result may lie where the student's logits do.
            student.over([&](Index place) {
              KernelBuilder::Carried result;
              for (auto [t, s] : llvm::zip_equal(teacher.load(place), student.load(place))) {
                Scalar logP = teacherSum.logOf(t), logQ = studentSum.logOf(s);
                result.push_back(dy * exp(logQ) * (logQ - logP - kl));
              }
              k.storeVector(result, k.pointer(3), student.first + place);
            });
          });
}

/// The last logit that is kept is the greatest number that `count` logits or more are not less than. It is found by
/// halving what may be it, in the order of all numbers, of which the smallest logit is one and what follows the
/// greatest is none: after 32 steps it alone is left, however far apart the logits are.
void morph::keep_topForm(DeviceFormCall &call) {
  const double count = static_cast<double>(call.integer("count"));
  constexpr double leftOut = 200;
  constexpr int64_t steps = 32;
  int64_t width = staticSize(call.operandType(0), 1);
  std::string kernel =
      call.define(std::to_string(width) + "_" + std::to_string(call.integer("count")), 2, /*sizes=*/0, kElementThreads,
                  [&](KernelBuilder &k) {
                    LogitRow logits(k, k.pointer(0), width);
                    Scalar least = k.number(-std::numeric_limits<float>::max());
                    auto ends = logits.over({least, least}, [&](Index place, ArrayRef<Scalar> before) {
                      KernelBuilder::Carried after(before);
                      for (Scalar x : logits.load(place)) {
                        after[0] = k.maximum(after[0], x);
                        after[1] = k.maximum(after[1], -x);
                      }
                      return after;
                    });
                    Scalar greatest = k.blockMax(ends[0]), smallest = -k.blockMax(ends[1]);
                    KernelBuilder::Carried places = {k.scalar(k.orderOf(smallest).get()),
                                                     k.scalar((k.orderOf(greatest) + 1).get())};
                    auto found =
                        k.loop(k.integer(0), k.integer(steps), 1, places, [&](Index, ArrayRef<Scalar> interval) {
                          Index low = k.wrap(interval[0].get()), high = k.wrap(interval[1].get());
                          Index middle = low + (high - low) / 2;
                          Scalar bound = k.numberAt(middle);
                          auto counted = logits.over({k.number(0)}, [&](Index place, ArrayRef<Scalar> before) {
                            Scalar sum = before[0];
                            for (Scalar x : logits.load(place))
                              sum = sum + k.select(k.less(x, bound), k.number(0), k.number(1));
                            return KernelBuilder::Carried{sum};
                          });
                          Value isLess = k.less(k.blockSum(counted[0]), k.number(count));
                          return KernelBuilder::Carried{k.scalar(k.select(isLess, low, middle).get()),
                                                        k.scalar(k.select(isLess, middle, high).get())};
                        });
                    Scalar bound = k.numberAt(k.wrap(found[0].get()));
                    logits.over([&](Index place) {
                      KernelBuilder::Carried result;
                      for (Scalar x : logits.load(place))
                        result.push_back(k.select(k.less(x, bound), greatest - leftOut, x));
                      k.storeVector(result, k.pointer(1), logits.first + place);
                    });
                  });
  call.launch(kernel, {productOf(call.operandType(0).shape[0])}, kElementThreads,
              {operandArgument(0), resultArgument(0)});
}

/// The target's logit is the largest where no element before it is as large, and none after it larger: of equal ones
/// the first counts. In a row with an element that is not a number nothing is right.
void morph::correctForm(DeviceFormCall &call) {
  forRows(call, call.operandType(0), {operandArgument(0), operandArgument(1), resultArgument(0)},
          [&](KernelBuilder &k, int64_t width) {
            LogitRow logits(k, k.pointer(0), width);
            Index target = k.loadInteger(k.pointer(1), k.block());
            Scalar own = k.load(logits.pointer, logits.first + target), zero = k.number(0), one = k.number(1);
            auto rivals = logits.over({zero}, [&](Index place, ArrayRef<Scalar> before) {
              Scalar rival = before[0];
              for (auto [lane, x] : llvm::enumerate(logits.load(place))) {
                Index other = place + static_cast<int64_t>(lane);
                Scalar isLess = k.select(k.less(x, own), zero, one),
                       isNoMore = k.select(k.lessOrEqual(x, own), zero, one);
                rival = max(rival, k.select(other < target, isLess, isNoMore));
              }
              return KernelBuilder::Carried{rival};
            });
            Scalar rival = k.blockMax(rivals[0]);
            k.onlyIf(k.thread() == 0, [&] { k.store(1 - rival, k.pointer(2), k.block()); });
          });
}
