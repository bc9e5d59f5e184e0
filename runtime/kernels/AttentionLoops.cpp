// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/AttentionLoops.h"

#include "runtime/kernels/Vectorize.h"

#include <type_traits>

namespace morph {
namespace {

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

/// `n` numbers as the compiler's vector; a single double is its own.
template <typename T, int n> struct Vector;
template <int n> struct Vector<float, n> {
  typedef float Type __attribute__((vector_size(4 * n), aligned(4), may_alias));
  typedef uint32_t Bits __attribute__((vector_size(4 * n)));
};
template <> struct Vector<double, 1> {
  typedef double Type;
};
template <typename T, int n> using Lanes = typename Vector<T, n>::Type;

template <int n> MORPH_INLINE Lanes<float, n> load(const float *x) {
  return *reinterpret_cast<const Lanes<float, n> *>(x);
}
template <int n> MORPH_INLINE Lanes<float, n> load(const Bf16 *x) {
  typedef uint16_t Halves __attribute__((vector_size(2 * n), aligned(2), may_alias));
  const auto bits = __builtin_convertvector(*reinterpret_cast<const Halves *>(x), typename Vector<float, n>::Bits);
  return __builtin_bit_cast(Lanes<float, n>, bits << 16);
}
template <int n> MORPH_INLINE void store(float *y, Lanes<float, n> x) { *reinterpret_cast<Lanes<float, n> *>(y) = x; }
/// To the nearest, ties to even; what is not a number stays so: as roundToBf16.
template <int n> MORPH_INLINE void store(Bf16 *y, Lanes<float, n> x) {
  typedef uint16_t Halves __attribute__((vector_size(2 * n), aligned(2), may_alias));
  using Bits = typename Vector<float, n>::Bits;
  Bits bits = __builtin_bit_cast(Bits, x), rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16,
       none = Bits{} + 0x7fc0u;
  *reinterpret_cast<Halves *>(y) = __builtin_convertvector((bits & 0x7fffffffu) > 0x7f800000u ? none : rounded, Halves);
}

/// tanh(x), absolute error below 2e-7 and small beside small x: its series up to x = 0.3, else by exp(-2 |x|). Not a
/// number stays that.
MORPH_INLINE float fastTanh(float x) {
  const float square = x * x, size = x < 0 ? -x : x;
  const float series =
      x * (1 + square * (-1.0f / 3 + square * (2.0f / 15 + square * (-17.0f / 315 + square * (62.0f / 2835)))));
  const float e = expInRange(-2 * (size > 40.0f ? 40.0f : size));
  const float quotient = (1 - e) / (1 + e);
  return size < 0.3f ? series : x < 0 ? -quotient : quotient;
}

/// y where one is not a number.
template <int n> MORPH_INLINE Lanes<float, n> greater(Lanes<float, n> x, Lanes<float, n> y) { return x > y ? x : y; }
template <int n> MORPH_INLINE float sumOf(Lanes<float, n> x) {
  float sum = 0;
  for (int i = 0; i < n; ++i)
    sum += x[i];
  return sum;
}
template <int n> MORPH_INLINE double sumOf(double x) { return x; }

/// fastExp for x up to 0. Not a number stays that, as it does in the sum of a row.
template <int n> MORPH_INLINE Lanes<float, n> expOf(Lanes<float, n> x) {
  Lanes<float, n> least = Lanes<float, n>{} - 80.0f;
  return expInRange<typename Vector<float, n>::Bits>(x < least ? least : x);
}
template <int n> MORPH_INLINE double expOf(double x) { return fastExp(x); }

/// A visible key for lanes that have none: its exponential is 1e-35, nothing beside that of the greatest, which is 1.
constexpr float kNone = -1e30f;

/// Calls step(load, store) for the keys [first, last) of `count`, a vector at a time: load(x, rest) gives the numbers
/// of a row, with `rest` in the place of keys from `last` on; store(y, numbers) takes them, and may write anything
/// there.
template <typename T, int n, typename Step>
MORPH_INLINE void forKeys(int64_t first, int64_t last, int64_t count, const Step &step) {
  int64_t j = first;
  if constexpr (n == 1) {
    for (; j < last; ++j)
      step([&](const T *x, T) { return x[j]; }, [&](auto *y, T value) { y[j] = value; });
  } else {
    for (; j + n <= last; j += n)
      step([&](const float *x, float) MORPH_INLINE_LAMBDA { return load<n>(x + j); },
           [&](auto *y, Lanes<float, n> value) MORPH_INLINE_LAMBDA { store<n>(y + j, value); });
    if (j == last)
      return;
    // The last ones with what follows them in the row, or, at its end, by themselves.
    Lanes<float, n> number;
    for (int i = 0; i < n; ++i)
      number[i] = static_cast<float>(i);
    const float left = static_cast<float>(last - j);
    if (j + n <= count)
      return step([&](const float *x, float rest)
                      MORPH_INLINE_LAMBDA { return number < left ? load<n>(x + j) : Lanes<float, n>{} + rest; },
                  [&](auto *y, Lanes<float, n> value) MORPH_INLINE_LAMBDA { store<n>(y + j, value); });
    step(
        [&](const float *x, float rest) MORPH_INLINE_LAMBDA {
          Lanes<float, n> some = Lanes<float, n>{} + rest;
          for (int64_t i = 0; i < last - j; ++i)
            some[i] = x[j + i];
          return some;
        },
        [&](auto *y, Lanes<float, n> value) MORPH_INLINE_LAMBDA {
          std::remove_pointer_t<decltype(y)> all[n];
          store<n>(all, value);
          for (int64_t i = 0; i < last - j; ++i)
            y[j + i] = all[i];
        });
  }
}

//===----------------------------------------------------------------------===//
// Rows, `n` numbers at a time
//===----------------------------------------------------------------------===//

template <int n> MORPH_INLINE float greatest(const float *x, int64_t first, int64_t last, float most) {
  Lanes<float, n> a = Lanes<float, n>{} + most, b = a;
  int64_t j = first;
  for (; j + 2 * n <= last; j += 2 * n) {
    a = greater<n>(load<n>(x + j), a);
    b = greater<n>(load<n>(x + j + n), b);
  }
  a = greater<n>(a, b);
  for (int i = 0; i < n; ++i)
    most = a[i] > most ? a[i] : most;
  for (; j < last; ++j)
    most = x[j] > most ? x[j] : most;
  return most;
}
template <int n> MORPH_INLINE double greatest(const double *x, int64_t first, int64_t last, double most) {
  for (int64_t j = first; j < last; ++j)
    most = x[j] > most ? x[j] : most;
  return most;
}

/// A row's `most` with these keys, and what the sums before are worth then. Before the first key there are none. A
/// product that is not a number may be left out of `most`: its exponential is not a number, and so is the row's sum.
template <typename T, int n> MORPH_INLINE T raise(const T *x, int64_t first, int64_t last, T scale, RowSums<T> *sums) {
  const T most = greatest<n>(x, first, last, sums->sum == 0 ? x[first] : sums->most);
  const T factor = sums->sum == 0 ? T(0) : most > sums->most ? fastExp(scale * (sums->most - most)) : T(1);
  sums->most = most;
  return factor;
}

/// y = 0 for keys that are not visible.
template <typename Out> MORPH_INLINE void clearHidden(Out *y, int64_t first, int64_t last, int64_t count) {
  for (int64_t j = 0; j < (first < count ? first : count); ++j)
    y[j] = Out{};
  for (int64_t j = last > first ? last : first; j < count; ++j)
    y[j] = Out{};
}

template <typename T, typename Out, int n>
MORPH_INLINE T addExponentialsOf(const T *x, Out *y, int64_t first, int64_t last, int64_t count, T scale,
                                 RowSums<T> *sums) {
  T factor = 1;
  if (first < last) {
    factor = raise<T, n>(x, first, last, scale, sums);
    Lanes<T, n> sum = {};
    forKeys<T, n>(first, last, count, [&](auto load, auto store) MORPH_INLINE_LAMBDA {
      const Lanes<T, n> value = expOf<n>((load(x, T(kNone)) - sums->most) * scale);
      sum += value;
      store(y, value);
    });
    sums->sum = sums->sum * factor + sumOf<n>(sum);
  }
  clearHidden(y, first, last, count);
  return factor;
}

template <typename T, int n>
MORPH_INLINE void addInnerOf(const T *x, const T *dp, int64_t first, int64_t last, int64_t count, T scale,
                             RowSums<T> *sums) {
  if (first >= last)
    return;
  const T factor = raise<T, n>(x, first, last, scale, sums);
  Lanes<T, n> sum = {}, inner = {};
  forKeys<T, n>(first, last, count, [&](auto load, auto) MORPH_INLINE_LAMBDA {
    const Lanes<T, n> value = expOf<n>((load(x, T(kNone)) - sums->most) * scale);
    sum += value;
    inner += value * load(dp, T(0));
  });
  sums->sum = sums->sum * factor + sumOf<n>(sum);
  sums->inner = sums->inner * factor + sumOf<n>(inner);
}

template <typename T, typename Out, int n>
MORPH_INLINE void softmaxGradientOf(const T *x, const T *dp, Out *p, Out *ds, int64_t first, int64_t last,
                                    int64_t count, T lse, T inner, T scale) {
  forKeys<T, n>(first, last, count, [&](auto load, auto store) MORPH_INLINE_LAMBDA {
    const Lanes<T, n> share = expOf<n>(load(x, T(kNone)) * scale - lse);
    const Lanes<T, n> gradient = share * scale * (load(dp, T(0)) - inner);
    store(p, share);
    store(ds, gradient);
  });
  clearHidden(p, first, last, count);
  clearHidden(ds, first, last, count);
}

template <int n, typename E> MORPH_INLINE float innerProductOf(const E *x, const float *y, int64_t count) {
  Lanes<float, n> sums = {};
  int64_t j = 0;
  for (; j + n <= count; j += n)
    sums += load<n>(x + j) * load<n>(y + j);
  float sum = sumOf<n>(sums);
  for (; j < count; ++j)
    sum += widen(x[j]) * y[j];
  return sum;
}

} // namespace

MORPH_LANES(float, addExponentials,
            (const float *x, float *y, int64_t first, int64_t last, int64_t count, float scale, RowSums<float> *sums),
            (addExponentialsOf<float, float, lanes>(x, y, first, last, count, scale, sums)),
            (x, y, first, last, count, scale, sums))
MORPH_LANES(float, addExponentials,
            (const float *x, Bf16 *y, int64_t first, int64_t last, int64_t count, float scale, RowSums<float> *sums),
            (addExponentialsOf<float, Bf16, lanes>(x, y, first, last, count, scale, sums)),
            (x, y, first, last, count, scale, sums))
double addExponentials(const double *x, double *y, int64_t first, int64_t last, int64_t count, double scale,
                       RowSums<double> *sums) {
  return addExponentialsOf<double, double, 1>(x, y, first, last, count, scale, sums);
}

MORPH_LANES(void, addInner,
            (const float *x, const float *dp, int64_t first, int64_t last, int64_t count, float scale,
             RowSums<float> *sums),
            (addInnerOf<float, lanes>(x, dp, first, last, count, scale, sums)),
            (x, dp, first, last, count, scale, sums))
void addInner(const double *x, const double *dp, int64_t first, int64_t last, int64_t count, double scale,
              RowSums<double> *sums) {
  addInnerOf<double, 1>(x, dp, first, last, count, scale, sums);
}

MORPH_LANES(void, softmaxGradient,
            (const float *x, const float *dp, float *p, float *ds, int64_t first, int64_t last, int64_t count,
             float lse, float inner, float scale),
            (softmaxGradientOf<float, float, lanes>(x, dp, p, ds, first, last, count, lse, inner, scale)),
            (x, dp, p, ds, first, last, count, lse, inner, scale))
MORPH_LANES(void, softmaxGradient,
            (const float *x, const float *dp, Bf16 *p, Bf16 *ds, int64_t first, int64_t last, int64_t count, float lse,
             float inner, float scale),
            (softmaxGradientOf<float, Bf16, lanes>(x, dp, p, ds, first, last, count, lse, inner, scale)),
            (x, dp, p, ds, first, last, count, lse, inner, scale))
void softmaxGradient(const double *x, const double *dp, double *p, double *ds, int64_t first, int64_t last,
                     int64_t count, double lse, double inner, double scale) {
  softmaxGradientOf<double, double, 1>(x, dp, p, ds, first, last, count, lse, inner, scale);
}

MORPH_LANES(float, innerProduct, (const float *x, const float *y, int64_t n), (innerProductOf<lanes>(x, y, n)),
            (x, y, n))
MORPH_LANES(float, innerProduct, (const Bf16 *x, const float *y, int64_t n), (innerProductOf<lanes>(x, y, n)),
            (x, y, n))
double innerProduct(const double *x, const double *y, int64_t n) {
  double sum = 0;
  for (int64_t j = 0; j < n; ++j)
    sum += x[j] * y[j];
  return sum;
}

MORPH_VECTORIZE void capRow(float *x, int64_t n, float factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] = fastTanh(factor * x[j]);
}
void capRow(double *x, int64_t n, double factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] = std::tanh(factor * x[j]);
}
MORPH_VECTORIZE void capGradient(float *x, float *dp, int64_t n, float factor, float inner) {
  for (int64_t j = 0; j < n; ++j) {
    x[j] = fastTanh(factor * x[j]);
    dp[j] = factor * (1 - x[j] * x[j]) * (dp[j] - inner);
  }
}
void capGradient(double *x, double *dp, int64_t n, double factor, double inner) {
  for (int64_t j = 0; j < n; ++j) {
    x[j] = std::tanh(factor * x[j]);
    dp[j] = factor * (1 - x[j] * x[j]) * (dp[j] - inner);
  }
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
