// SPDX-License-Identifier: Apache-2.0
// Sizes of tensors before any model is known: polynomials of named sizes.

#ifndef MORPH_FRONTENDS_MORPH_SIZEPOLYNOMIAL_H
#define MORPH_FRONTENDS_MORPH_SIZEPOLYNOMIAL_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace morph::language {

/// A sum of products of named sizes with rational factors, in normal form: two are equal where all models give them the
/// same value. Quotients are taken as exact: H * D / 2 * 2 is H * D, and H * D / H is D. Operations give nothing where
/// the result has too many terms, too large factors, or is no such sum.
class SizePolynomial {
public:
  SizePolynomial() = default; ///< Zero.
  static SizePolynomial makeNumber(int64_t number);
  static SizePolynomial makeName(llvm::StringRef name);

  std::optional<SizePolynomial> operator+(const SizePolynomial &other) const;
  std::optional<SizePolynomial> operator-(const SizePolynomial &other) const;
  std::optional<SizePolynomial> operator*(const SizePolynomial &other) const;
  /// Nothing also where the divisor is zero, or is a sum that does not divide this one.
  std::optional<SizePolynomial> operator/(const SizePolynomial &other) const;
  /// For exponents from 0.
  std::optional<SizePolynomial> power(int64_t exponent) const;

  bool operator==(const SizePolynomial &other) const { return terms_ == other.terms_; }
  bool operator!=(const SizePolynomial &other) const { return !(*this == other); }

  /// The number that it is in all models, nothing where it depends on the model; also where it is no whole number.
  std::optional<int64_t> getNumber() const;
  /// Whether it is a number in all models, but no whole one or less than 1.
  bool isNeverSize() const;
  /// Whether this divides `other` whatever the model is: the quotient has whole factors and no name below a line.
  bool divides(const SizePolynomial &other) const;
  /// Whether the quotient shows that this never divides `other`: both are numbers.
  bool neverDivides(const SizePolynomial &other) const;

  /// The value for a model's sizes; nothing where a name has none, a part leaves 64 bits or the value is not whole.
  std::optional<int64_t> evaluate(llvm::function_ref<std::optional<int64_t>(llvm::StringRef name)> lookup) const;

  /// "H * D / 2 + 1".
  std::string print() const;

private:
  struct Fraction {
    int64_t over = 0, under = 1; ///< Without common factors; `under` is positive.
    bool operator==(const Fraction &other) const { return over == other.over && under == other.under; }
  };
  /// Names with their exponents, none of which is zero.
  using Product = std::map<std::string, int64_t>;
  /// By the exponent of the first name in which two differ, so that products with a third keep the order: what long
  /// division needs.
  struct Before {
    bool operator()(const Product &a, const Product &b) const;
  };

  static std::optional<Fraction> makeFraction(int64_t over, int64_t under);
  static std::optional<Fraction> add(Fraction a, Fraction b);
  static std::optional<Fraction> multiply(Fraction a, Fraction b);
  static std::optional<Product> multiply(const Product &a, const Product &b, int64_t exponent);
  bool addTerm(const Product &product, Fraction factor);

  std::map<Product, Fraction, Before> terms_; ///< No factor is zero.
};

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_SIZEPOLYNOMIAL_H
