// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/cublaslt/Product.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

// The loops over columns are what the compiler vectorises, once for each of these machines.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define STANDIN_VECTORIZE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define STANDIN_VECTORIZE
#endif

namespace standin {
namespace {

/// A tile of the result: rows and columns that one task computes, and of these what is held in registers.
constexpr int64_t kTileRows = 64, kTileColumns = 256, kDepth = 256;
constexpr int64_t kRows = 4, kColumns = 32;
/// Products with fewer multiplications run on one thread.
constexpr int64_t kSmall = 1 << 21;

float fromBf16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, 4);
  return value;
}

uint16_t toBf16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  if (std::isnan(value))
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename T> T load(const View &view, int64_t row, int64_t column) {
  const int64_t at = row * view.rowStride + column * view.columnStride;
  switch (view.type) {
  case Type::F32:
    return static_cast<T>(static_cast<const float *>(view.data)[at]);
  case Type::BF16:
    return static_cast<T>(fromBf16(static_cast<const uint16_t *>(view.data)[at]));
  case Type::F64:
    return static_cast<T>(static_cast<const double *>(view.data)[at]);
  }
  return T(0);
}

template <typename T> void store(const View &view, int64_t row, int64_t column, T value) {
  const int64_t at = row * view.rowStride + column * view.columnStride;
  switch (view.type) {
  case Type::F32:
    static_cast<float *>(view.data)[at] = static_cast<float>(value);
    break;
  case Type::BF16:
    static_cast<uint16_t *>(view.data)[at] = toBf16(static_cast<float>(value));
    break;
  case Type::F64:
    static_cast<double *>(view.data)[at] = static_cast<double>(value);
    break;
  }
}

/// A block of a matrix, row by row, `width` elements each; zeros behind its last row and column.
template <typename T>
void pack(const View &view, int64_t row, int64_t rows, int64_t column, int64_t columns, T *to, int64_t height,
          int64_t width) {
  std::fill(to, to + height * width, T(0));
  // In the order in which the elements are stored.
  if (view.columnStride <= view.rowStride) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        to[r * width + c] = load<T>(view, row + r, column + c);
  } else {
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t r = 0; r < rows; ++r)
        to[r * width + c] = load<T>(view, row + r, column + c);
  }
}

/// sums [kTileRows, kTileColumns] += a [kTileRows, kDepth] b [kDepth, kTileColumns], of which [rows, depth] and
/// [depth, columns] are there.
STANDIN_VECTORIZE void addTile(const float *a, const float *b, float *sums, int64_t rows, int64_t columns,
                               int64_t depth) {
  for (int64_t row = 0; row < rows; row += kRows)
    for (int64_t column = 0; column < columns; column += kColumns) {
      float held[kRows][kColumns] = {};
      for (int64_t i = 0; i < depth; ++i)
        for (int64_t r = 0; r < kRows; ++r) {
          const float factor = a[(row + r) * kDepth + i];
          for (int64_t c = 0; c < kColumns; ++c)
            held[r][c] += factor * b[i * kTileColumns + column + c];
        }
      for (int64_t r = 0; r < kRows; ++r)
        for (int64_t c = 0; c < kColumns; ++c)
          sums[(row + r) * kTileColumns + column + c] += held[r][c];
    }
}
STANDIN_VECTORIZE void addTile(const double *a, const double *b, double *sums, int64_t rows, int64_t columns,
                               int64_t depth) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < depth; ++i) {
      const double factor = a[row * kDepth + i];
      for (int64_t c = 0; c < columns; ++c)
        sums[row * kTileColumns + c] += factor * b[i * kTileColumns + c];
    }
}

template <typename T> T apply(Function function, T x) {
  switch (function) {
  case Function::None:
    return x;
  case Function::Relu:
    return x > 0 ? x : T(0);
  case Function::Gelu:
    return T(0.5) * x * (T(1) + std::tanh(T(0.7978845608028654) * (x + T(0.044715) * x * x * x)));
  }
  return x;
}

template <typename T> void multiplyTile(const Product &p, int64_t row, int64_t column) {
  const int64_t rows = std::min(kTileRows, p.m - row), columns = std::min(kTileColumns, p.n - column);
  std::vector<T> a(kTileRows * kDepth), b(kDepth * kTileColumns), sums(kTileRows * kTileColumns, T(0));
  std::vector<T> part(sums.size());
  const int64_t splits = std::max(1, p.splits), length = (p.k + splits - 1) / splits;
  for (int64_t begin = 0; begin < p.k; begin += length) {
    const int64_t end = std::min(begin + length, p.k);
    std::fill(part.begin(), part.end(), T(0));
    for (int64_t i = begin; i < end; i += kDepth) {
      const int64_t depth = std::min(kDepth, end - i);
      pack(p.a, row, rows, i, depth, a.data(), kTileRows, kDepth);
      pack(p.b, i, depth, column, columns, b.data(), kDepth, kTileColumns);
      addTile(a.data(), b.data(), part.data(), rows, columns, depth);
    }
    for (size_t i = 0; i < sums.size(); ++i)
      sums[i] += part[i];
  }
  View bias{const_cast<void *>(p.bias), p.biasType, 1, 0};
  for (int64_t r = 0; r < rows; ++r) {
    const T add = p.bias ? load<T>(bias, row + r, 0) : T(0);
    for (int64_t c = 0; c < columns; ++c) {
      T value = static_cast<T>(p.alpha) * sums[static_cast<size_t>(r * kTileColumns + c)];
      // Where beta is 0, c is not read: it may be anything.
      if (p.beta != 0)
        value += static_cast<T>(p.beta) * load<T>(p.c, row + r, column + c);
      store(p.d, row + r, column + c, apply(p.function, value + add));
    }
  }
}

} // namespace

void multiply(const Product &p) {
  const int64_t down = (p.m + kTileRows - 1) / kTileRows, across = (p.n + kTileColumns - 1) / kTileColumns;
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t tile = next++; tile < down * across; tile = next++) {
      const int64_t row = tile % down * kTileRows, column = tile / down * kTileColumns;
      if (p.a.type == Type::F64)
        multiplyTile<double>(p, row, column);
      else
        multiplyTile<float>(p, row, column);
    }
  };
  const int64_t most = p.m * p.n * p.k < kSmall ? 1 : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min(most, down * across); ++i)
    others.emplace_back(work);
  work();
  for (std::thread &other : others)
    other.join();
}

} // namespace standin
