// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/SizePolynomial.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

using namespace morph::language;

/// More than any mixer needs; operations cost this squared.
static constexpr size_t kMaxTerms = 32;
static constexpr size_t kMaxNames = 16;
static constexpr int64_t kMaxExponent = 16;

SizePolynomial SizePolynomial::makeNumber(int64_t number) {
  SizePolynomial result;
  if (number != 0)
    result.terms_[{}] = {number, 1};
  return result;
}

SizePolynomial SizePolynomial::makeName(llvm::StringRef name) {
  SizePolynomial result;
  result.terms_[{{name.str(), 1}}] = {1, 1};
  return result;
}

bool SizePolynomial::Before::operator()(const Product &a, const Product &b) const {
  auto left = a.begin(), right = b.begin();
  while (left != a.end() || right != b.end()) {
    // A name that a product lacks has the exponent zero.
    bool onlyLeft = right == b.end() || (left != a.end() && left->first < right->first);
    bool onlyRight = left == a.end() || (right != b.end() && right->first < left->first);
    int64_t leftExponent = onlyRight ? 0 : left->second, rightExponent = onlyLeft ? 0 : right->second;
    if (leftExponent != rightExponent)
      return leftExponent < rightExponent;
    if (!onlyRight)
      ++left;
    if (!onlyLeft)
      ++right;
  }
  return false;
}

std::optional<SizePolynomial::Fraction> SizePolynomial::makeFraction(int64_t over, int64_t under) {
  // The smallest number has no negative in 64 bits.
  constexpr int64_t kSmallest = std::numeric_limits<int64_t>::min();
  if (over == kSmallest || under == kSmallest || under == 0)
    return std::nullopt;
  int64_t common = std::gcd(over, under) * (under < 0 ? -1 : 1);
  return Fraction{over / common, under / common};
}

std::optional<SizePolynomial::Fraction> SizePolynomial::add(Fraction a, Fraction b) {
  int64_t left = 0, right = 0, over = 0, under = 0;
  if (llvm::MulOverflow(a.over, b.under, left) || llvm::MulOverflow(b.over, a.under, right) ||
      llvm::AddOverflow(left, right, over) || llvm::MulOverflow(a.under, b.under, under))
    return std::nullopt;
  return makeFraction(over, under);
}

std::optional<SizePolynomial::Fraction> SizePolynomial::multiply(Fraction a, Fraction b) {
  int64_t over = 0, under = 0;
  if (llvm::MulOverflow(a.over, b.over, over) || llvm::MulOverflow(a.under, b.under, under))
    return std::nullopt;
  return makeFraction(over, under);
}

std::optional<SizePolynomial::Product> SizePolynomial::multiply(const Product &a, const Product &b, int64_t exponent) {
  Product result = a;
  for (const auto &[name, times] : b) {
    int64_t &sum = result[name];
    sum += times * exponent;
    if (sum > kMaxExponent || sum < -kMaxExponent)
      return std::nullopt;
    if (sum == 0)
      result.erase(name);
  }
  if (result.size() > kMaxNames)
    return std::nullopt;
  return result;
}

bool SizePolynomial::addTerm(const Product &product, Fraction factor) {
  std::optional<Fraction> sum = add(terms_[product], factor);
  if (!sum)
    return false;
  if (sum->over == 0)
    terms_.erase(product);
  else
    terms_[product] = *sum;
  return terms_.size() <= kMaxTerms;
}

std::optional<SizePolynomial> SizePolynomial::operator+(const SizePolynomial &other) const {
  SizePolynomial result = *this;
  for (const auto &[product, factor] : other.terms_)
    if (!result.addTerm(product, factor))
      return std::nullopt;
  return result;
}

std::optional<SizePolynomial> SizePolynomial::operator-(const SizePolynomial &other) const {
  std::optional<SizePolynomial> negative = other * makeNumber(-1);
  return negative ? *this + *negative : std::nullopt;
}

std::optional<SizePolynomial> SizePolynomial::operator*(const SizePolynomial &other) const {
  SizePolynomial result;
  for (const auto &[product, factor] : terms_)
    for (const auto &[otherProduct, otherFactor] : other.terms_) {
      std::optional<Product> names = multiply(product, otherProduct, 1);
      std::optional<Fraction> number = multiply(factor, otherFactor);
      if (!names || !number || !result.addTerm(*names, *number))
        return std::nullopt;
    }
  return result;
}

std::optional<SizePolynomial> SizePolynomial::operator/(const SizePolynomial &other) const {
  if (other.terms_.empty())
    return std::nullopt;
  // Long division by the last term. Of one term there is never a remainder; of more, a
  // division that works has no more steps than the quotient has terms.
  const auto &[divisor, divisorFactor] = *other.terms_.rbegin();
  std::optional<Fraction> inverse = makeFraction(divisorFactor.under, divisorFactor.over);
  SizePolynomial rest = *this, quotient;
  for (size_t step = 0; inverse && step <= kMaxTerms; ++step) {
    if (rest.terms_.empty())
      return quotient;
    const auto &[product, factor] = *rest.terms_.rbegin();
    std::optional<Product> names = multiply(product, divisor, -1);
    std::optional<Fraction> number = multiply(factor, *inverse);
    if (!names || !number || !quotient.addTerm(*names, *number))
      return std::nullopt;
    SizePolynomial term;
    term.terms_[*names] = *number;
    std::optional<SizePolynomial> part = term * other;
    std::optional<SizePolynomial> next = part ? rest - *part : std::nullopt;
    if (!next)
      return std::nullopt;
    rest = std::move(*next);
  }
  return std::nullopt;
}

std::optional<SizePolynomial> SizePolynomial::power(int64_t exponent) const {
  if (exponent < 0 || exponent > kMaxExponent)
    return std::nullopt;
  std::optional<SizePolynomial> result = makeNumber(1);
  for (; result && exponent > 0; --exponent)
    result = *result * *this;
  return result;
}

std::optional<int64_t> SizePolynomial::getNumber() const {
  if (terms_.empty())
    return 0;
  const auto &[product, factor] = *terms_.begin();
  if (terms_.size() > 1 || !product.empty() || factor.under != 1)
    return std::nullopt;
  return factor.over;
}

bool SizePolynomial::isNeverSize() const {
  if (terms_.empty())
    return true;
  const auto &[product, factor] = *terms_.begin();
  return terms_.size() == 1 && product.empty() && (factor.under != 1 || factor.over < 1);
}

bool SizePolynomial::divides(const SizePolynomial &other) const {
  std::optional<SizePolynomial> quotient = other / *this;
  if (!quotient)
    return false;
  for (const auto &[product, factor] : quotient->terms_) {
    if (factor.under != 1)
      return false;
    for (const auto &power : product)
      if (power.second < 0)
        return false;
  }
  return true;
}

bool SizePolynomial::neverDivides(const SizePolynomial &other) const {
  std::optional<int64_t> divisor = getNumber(), number = other.getNumber();
  return divisor && number && (*divisor == 0 || *number % *divisor != 0);
}

std::optional<int64_t>
SizePolynomial::evaluate(llvm::function_ref<std::optional<int64_t>(llvm::StringRef name)> lookup) const {
  Fraction sum;
  for (const auto &[product, factor] : terms_) {
    std::optional<Fraction> term = factor;
    for (const auto &[name, exponent] : product) {
      std::optional<int64_t> value = lookup(name);
      if (!value)
        return std::nullopt;
      std::optional<Fraction> one = exponent > 0 ? makeFraction(*value, 1) : makeFraction(1, *value);
      for (int64_t times = 0; one && term && times < std::abs(exponent); ++times)
        term = multiply(*term, *one);
      if (!one || !term)
        return std::nullopt;
    }
    std::optional<Fraction> next = add(sum, *term);
    if (!next)
      return std::nullopt;
    sum = *next;
  }
  return sum.under == 1 ? std::optional<int64_t>(sum.over) : std::nullopt;
}

/// The names of a product as people write them: H * D, not D * H.
static std::vector<std::string> orderNames(const std::map<std::string, int64_t> &product) {
  std::vector<std::string> names;
  for (const auto &power : product)
    names.push_back(power.first);
  std::stable_sort(names.begin(), names.end(), [](const std::string &a, const std::string &b) {
    constexpr llvm::StringLiteral kOrder = "MHGD";
    auto place = [&](const std::string &name) {
      return name.size() == 1 ? kOrder.find(name[0]) : llvm::StringRef::npos;
    };
    return place(a) < place(b);
  });
  return names;
}

std::string SizePolynomial::print() const {
  // From the last, and a number without a name ends the sum.
  std::vector<std::pair<Product, Fraction>> terms(terms_.rbegin(), terms_.rend());
  std::stable_partition(terms.begin(), terms.end(), [](const auto &term) { return !term.first.empty(); });
  std::string text;
  for (const auto &[product, factor] : terms) {
    bool negative = factor.over < 0;
    text += text.empty() ? (negative ? "-" : "") : (negative ? " - " : " + ");
    std::vector<std::string> over, under;
    if (std::abs(factor.over) != 1)
      over.push_back(std::to_string(std::abs(factor.over)));
    if (factor.under != 1)
      under.push_back(std::to_string(factor.under));
    for (const std::string &name : orderNames(product)) {
      int64_t exponent = product.at(name), times = std::abs(exponent);
      (exponent > 0 ? over : under).push_back(times == 1 ? name : name + " ^ " + std::to_string(times));
    }
    if (over.empty())
      over.push_back("1");
    for (size_t i = 0; i < over.size(); ++i)
      text += (i == 0 ? "" : " * ") + over[i];
    for (const std::string &divisor : under)
      text += " / " + divisor;
  }
  return text.empty() ? "0" : text;
}
