// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/AttentionLoops.h"

#include "runtime/kernels/Lanes.h"

namespace morph {
namespace {

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

/// The first `count` numbers, and `rest` in the other lanes.
MORPH_INLINE Lanes loadSome(const float *x, int64_t count, float rest) {
  Lanes result = Lanes{} + rest;
  for (int64_t i = 0; i < count; ++i)
    result[i] = x[i];
  return result;
}
template <typename Out> MORPH_INLINE void storeSome(Out *y, Lanes x, int64_t count) {
  Out all[kLanes];
  storeLanes(all, x);
  for (int64_t i = 0; i < count; ++i)
    y[i] = all[i];
}

/// fastExp for x up to 0.
MORPH_INLINE Lanes expOf(Lanes x) { return expInRange<Words>(greater(x, Lanes{} - 80.0f)); }
MORPH_INLINE double expOf(double x) { return fastExp(x); }

/// A visible key for lanes that have none: its exponential is 1e-35, nothing beside that of the greatest, which is 1.
constexpr float kNone = -1e30f;

/// Calls step(load, store) for the keys [first, last), a vector at a time: load(x, rest) gives the numbers of a row,
/// store(y, numbers) takes them.
template <typename Step> MORPH_INLINE void forKeys(const float *, int64_t first, int64_t last, const Step &step) {
  int64_t j = first;
  for (; j + kLanes <= last; j += kLanes)
    step([&](const float *x, float) MORPH_INLINE_LAMBDA { return loadLanes(x + j); },
         [&](auto *y, Lanes value) MORPH_INLINE_LAMBDA { storeLanes(y + j, value); });
  if (const int64_t count = last - j; count > 0)
    step([&](const float *x, float rest) MORPH_INLINE_LAMBDA { return loadSome(x + j, count, rest); },
         [&](auto *y, Lanes value) MORPH_INLINE_LAMBDA { storeSome(y + j, value, count); });
}
template <typename Step> MORPH_INLINE void forKeys(const double *, int64_t first, int64_t last, const Step &step) {
  for (int64_t j = first; j < last; ++j)
    step([&](const double *x, double) { return x[j]; }, [&](double *y, double value) { y[j] = value; });
}

/// What a step works on.
template <typename T> struct NumbersOf;
template <> struct NumbersOf<float> {
  typedef Lanes Type;
};
template <> struct NumbersOf<double> {
  typedef double Type;
};
template <typename T> using Numbers = typename NumbersOf<T>::Type;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

MORPH_INLINE float greatest(const float *x, int64_t first, int64_t last, float most) {
  Lanes a = Lanes{} + most, b = a;
  int64_t j = first;
  for (; j + 2 * kLanes <= last; j += 2 * kLanes) {
    a = greater(loadLanes(x + j), a);
    b = greater(loadLanes(x + j + kLanes), b);
  }
  a = greater(a, b);
  for (int64_t i = 0; i < kLanes; ++i)
    most = a[i] > most ? a[i] : most;
  for (; j < last; ++j)
    most = x[j] > most ? x[j] : most;
  return most;
}
MORPH_INLINE double greatest(const double *x, int64_t first, int64_t last, double most) {
  for (int64_t j = first; j < last; ++j)
    most = x[j] > most ? x[j] : most;
  return most;
}

/// A row's `most` with these keys, and what the sums before are worth then. Before the first key there are none.
template <typename T> MORPH_INLINE T raise(const T *x, int64_t first, int64_t last, T scale, RowSums<T> *sums) {
  const T most = greatest(x, first, last, sums->sum == 0 ? x[first] : sums->most);
  const T factor = sums->sum == 0 ? T(0) : most > sums->most ? fastExp(scale * (sums->most - most)) : T(1);
  sums->most = most;
  return factor;
}

/// y = 0 for keys that are not visible.
template <typename Out> MORPH_INLINE void clearHidden(Out *y, int64_t first, int64_t last, int64_t n) {
  for (int64_t j = 0; j < (first < n ? first : n); ++j)
    y[j] = Out{};
  for (int64_t j = last > first ? last : first; j < n; ++j)
    y[j] = Out{};
}

template <typename T, typename Out>
MORPH_INLINE T addExponentialsOf(const T *x, Out *y, int64_t first, int64_t last, int64_t n, T scale,
                                 RowSums<T> *sums) {
  T factor = 1;
  if (first < last) {
    factor = raise(x, first, last, scale, sums);
    Numbers<T> sum = {};
    forKeys(x, first, last, [&](auto load, auto store) MORPH_INLINE_LAMBDA {
      const Numbers<T> value = expOf((load(x, T(kNone)) - sums->most) * scale);
      sum += value;
      store(y, value);
    });
    sums->sum = sums->sum * factor + sumOf(sum);
  }
  clearHidden(y, first, last, n);
  return factor;
}

template <typename T>
MORPH_INLINE void addInnerOf(const T *x, const T *dp, int64_t first, int64_t last, T scale, RowSums<T> *sums) {
  if (first >= last)
    return;
  const T factor = raise(x, first, last, scale, sums);
  Numbers<T> sum = {}, inner = {};
  forKeys(x, first, last, [&](auto load, auto) MORPH_INLINE_LAMBDA {
    const Numbers<T> value = expOf((load(x, T(kNone)) - sums->most) * scale);
    sum += value;
    inner += value * load(dp, T(0));
  });
  sums->sum = sums->sum * factor + sumOf(sum);
  sums->inner = sums->inner * factor + sumOf(inner);
}

template <typename T, typename Out>
MORPH_INLINE void softmaxGradientOf(const T *x, const T *dp, Out *p, Out *ds, int64_t first, int64_t last, int64_t n,
                                    T most, T reciprocal, T inner, T scale) {
  forKeys(x, first, last, [&](auto load, auto store) MORPH_INLINE_LAMBDA {
    const Numbers<T> share = expOf((load(x, T(kNone)) - most) * scale) * reciprocal;
    const Numbers<T> gradient = share * scale * (load(dp, T(0)) - inner);
    store(p, share);
    store(ds, gradient);
  });
  clearHidden(p, first, last, n);
  clearHidden(ds, first, last, n);
}

} // namespace

MORPH_VECTORIZE float addExponentials(const float *x, float *y, int64_t first, int64_t last, int64_t n, float scale,
                                      RowSums<float> *sums) {
  return addExponentialsOf<float, float>(x, y, first, last, n, scale, sums);
}
MORPH_VECTORIZE float addExponentials(const float *x, Bf16 *y, int64_t first, int64_t last, int64_t n, float scale,
                                      RowSums<float> *sums) {
  return addExponentialsOf<float, Bf16>(x, y, first, last, n, scale, sums);
}
double addExponentials(const double *x, double *y, int64_t first, int64_t last, int64_t n, double scale,
                       RowSums<double> *sums) {
  return addExponentialsOf<double, double>(x, y, first, last, n, scale, sums);
}
MORPH_VECTORIZE void addInner(const float *x, const float *dp, int64_t first, int64_t last, float scale,
                              RowSums<float> *sums) {
  addInnerOf<float>(x, dp, first, last, scale, sums);
}
void addInner(const double *x, const double *dp, int64_t first, int64_t last, double scale, RowSums<double> *sums) {
  addInnerOf<double>(x, dp, first, last, scale, sums);
}

MORPH_VECTORIZE void softmaxGradient(const float *x, const float *dp, float *p, float *ds, int64_t first, int64_t last,
                                     int64_t n, float most, float reciprocal, float inner, float scale) {
  softmaxGradientOf<float, float>(x, dp, p, ds, first, last, n, most, reciprocal, inner, scale);
}
MORPH_VECTORIZE void softmaxGradient(const float *x, const float *dp, Bf16 *p, Bf16 *ds, int64_t first, int64_t last,
                                     int64_t n, float most, float reciprocal, float inner, float scale) {
  softmaxGradientOf<float, Bf16>(x, dp, p, ds, first, last, n, most, reciprocal, inner, scale);
}
void softmaxGradient(const double *x, const double *dp, double *p, double *ds, int64_t first, int64_t last, int64_t n,
                     double most, double reciprocal, double inner, double scale) {
  softmaxGradientOf<double, double>(x, dp, p, ds, first, last, n, most, reciprocal, inner, scale);
}

MORPH_VECTORIZE void scaleRow(float *x, int64_t n, float factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] *= factor;
}
void scaleRow(double *x, int64_t n, double factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] *= factor;
}
MORPH_VECTORIZE void addScaledRow(const float *x, float *y, int64_t n, float factor) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += factor * x[j];
}
void addScaledRow(const double *x, double *y, int64_t n, double factor) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += factor * x[j];
}

} // namespace morph
