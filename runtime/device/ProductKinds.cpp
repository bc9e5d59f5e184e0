// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/ProductKinds.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/base/CacheFolder.h"
#include "runtime/base/File.h"
#include "runtime/base/FileLock.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <sstream>
#include <tuple>

namespace morph {
namespace {

/// Of the file of choices, and of a line.
constexpr uint64_t kMostBytes = 4 << 20;
constexpr size_t kLongestLine = 400;

const char *nameOf(CudaType type) { return type == CudaType::F64 ? "f64" : type == CudaType::BF16 ? "bf16" : "f32"; }

std::string sizesOf(const CudaProduct &p) {
  return std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k);
}

auto tied(const CudaProduct &p) {
  return std::tie(p.m, p.n, p.k, p.transposeA, p.transposeB, p.factors, p.result, p.strideA, p.strideB, p.strideC,
                  p.batch, p.batchStrideA, p.batchStrideB, p.batchStrideC);
}

/// Letters, digits and a few signs, which are all that kinds and algorithms consist of.
bool isPlain(const std::string &text) {
  return !text.empty() && text.size() < kLongestLine &&
         std::all_of(
             text.begin(), text.end(),
             [](char letter) {
               return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == ' ' ||
                      letter == ',' || letter == '/';
             });
}

std::map<std::string, std::string> readChoices(const std::string &path) {
  std::map<std::string, std::string> choices;
  StatusOr<std::string> text = readTextFile(path, kMostBytes);
  if (!text.ok())
    return choices;
  std::istringstream lines(*text);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos)
      continue;
    std::string kind = line.substr(0, tab), algorithm = line.substr(tab + 1);
    if (isPlain(kind) && isPlain(algorithm))
      choices[std::move(kind)] = std::move(algorithm);
  }
  return choices;
}

} // namespace

int64_t bytesOf(CudaType type) { return type == CudaType::F64 ? 8 : type == CudaType::BF16 ? 2 : 4; }

StatusOr<CudaProduct> checkedProduct(CudaProduct p) {
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0)
    return Status::failed("a product of negative size: " + sizesOf(p));
  const bool isPair = p.factors == p.result || (p.factors == CudaType::BF16 && p.result == CudaType::F32);
  if (!isPair)
    return Status::failed(std::string("no product of ") + nameOf(p.factors) + " factors has " + nameOf(p.result) +
                          " results");
  if (isEmpty(p))
    return p;
  if (p.k == 0)
    return Status::failed("a product over nothing: " + sizesOf(p));
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (p.m > kMost || p.n > kMost || p.k > kMost || p.batch > kMost)
    return Status::failed("a product with a side beyond 2^31: " + sizesOf(p));
  const int64_t rowA = p.transposeA ? p.m : p.k, rowB = p.transposeB ? p.k : p.n;
  for (auto [stride, row] : {std::pair<int64_t *, int64_t>{&p.strideA, rowA}, {&p.strideB, rowB}, {&p.strideC, p.n}}) {
    if (*stride == 0)
      *stride = row;
    if (*stride < row)
      return Status::failed("rows of a product overlap: " + std::to_string(row) + " elements every " +
                            std::to_string(*stride));
  }
  if (p.batch == 1)
    p.batchStrideA = p.batchStrideB = p.batchStrideC = 0;
  else if (p.batchStrideA < 0 || p.batchStrideB < 0 || p.batchStrideC < (p.m - 1) * p.strideC + p.n)
    return Status::failed("results of a batch of products overlap: one every " + std::to_string(p.batchStrideC) +
                          " elements");
  return p;
}

ColumnMajorProduct columnMajorOf(const CudaProduct &p) {
  // Stored rows are columns there, so that what is not transposed here is not there.
  ColumnMajorProduct result;
  result.first = {p.transposeB ? p.k : p.n, p.transposeB ? p.n : p.k, p.strideB, p.batchStrideB, p.transposeB};
  result.second = {p.transposeA ? p.m : p.k, p.transposeA ? p.k : p.m, p.strideA, p.batchStrideA, p.transposeA};
  result.result = {p.n, p.m, p.strideC, p.batchStrideC, false};
  return result;
}

int alignmentOf(const void *address) {
  const auto bits = reinterpret_cast<uintptr_t>(address) | 256;
  return static_cast<int>(bits & (~bits + 1));
}

bool ProductKind::operator<(const ProductKind &other) const {
  return std::tuple_cat(tied(product), std::tie(hasBias, alignments)) <
         std::tuple_cat(tied(other.product), std::tie(other.hasBias, other.alignments));
}

std::string ProductKind::text() const {
  const CudaProduct &p = product;
  std::ostringstream out;
  out << nameOf(p.factors) << " " << nameOf(p.result) << " " << (p.transposeA ? "t" : "n") << (p.transposeB ? "t" : "n")
      << " " << p.m << "x" << p.n << "x" << p.k << " strides " << p.strideA << "," << p.strideB << "," << p.strideC;
  if (p.batch != 1)
    out << " batch " << p.batch << " " << p.batchStrideA << "," << p.batchStrideB << "," << p.batchStrideC;
  out << (hasBias ? " bias" : "");
  out << " aligned " << alignments[0] << "," << alignments[1] << "," << alignments[2] << "," << alignments[3];
  return out.str();
}

ProductChoices::ProductChoices(std::string path) : path_(std::move(path)) {
  if (!path_.empty())
    choices_ = readChoices(path_);
}

std::string ProductChoices::find(const std::string &kind) const {
  auto found = choices_.find(kind);
  return found == choices_.end() ? "" : found->second;
}

std::string ProductChoices::keep(const std::string &kind, const std::string &algorithm, const std::string &stale) {
  if (path_.empty())
    return algorithm;
  const FileLock lock(path_ + ".lock");
  if (!lock.held())
    return algorithm;
  choices_ = readChoices(path_);
  std::string &kept = choices_[kind];
  if (kept.empty() || kept == stale)
    kept = algorithm;
  std::string text;
  for (const auto &[each, chosen] : choices_)
    text += each + "\t" + chosen + "\n";
  if (text.size() > kMostBytes)
    text = kind + "\t" + kept + "\n";
  // Where it cannot be written, the next process measures again.
  (void)writeFile(path_, text).ok();
  return kept;
}

std::string productChoicesPath(const CudaProperties &device) {
  const std::string folder = cacheFolder();
  std::error_code error;
  if (folder.empty() || (std::filesystem::create_directories(folder, error), error))
    return "";
  return folder + "/cuda-products-" + slugOf(device.name) + "-" + std::to_string(device.driverVersion);
}

} // namespace morph
