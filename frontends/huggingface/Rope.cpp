// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/Rope.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace morph;

/// Scaling factors and turns of a wavelength; of what may be 0; context lengths.
static constexpr NumberRange kFactor{1e-6, 1e6};
static constexpr NumberRange kScale{0, 1e6};
static constexpr NumberRange kPositions{double(kPositionRange.minimum), double(kPositionRange.maximum)};
/// transformers' own where config.json does not say.
static constexpr int64_t kDefaultPositions = 2048;

RopeConfig morph::makeRope(double theta, int64_t dimensions) {
  RopeConfig rope;
  for (int64_t i = 0; i < dimensions / 2; ++i)
    rope.inverseFrequencies.push_back(std::pow(theta, -2.0 * double(i) / double(dimensions)));
  return rope;
}

/// Llama 3.1: long wavelengths are stretched by `factor`, short ones left, those between interpolated.
static void scaleLlama3(RopeConfig &rope, double factor, double lowFrequencyFactor, double highFrequencyFactor,
                        double originalPositions) {
  double longWavelength = originalPositions / lowFrequencyFactor;
  double shortWavelength = originalPositions / highFrequencyFactor;
  for (double &frequency : rope.inverseFrequencies) {
    double wavelength = 2 * M_PI / frequency;
    if (wavelength > longWavelength) {
      frequency /= factor;
    } else if (wavelength >= shortWavelength) {
      double smooth =
          (originalPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
}

/// YaRN (arXiv 2309.00071): a ramp over the dimensions from extrapolation to interpolation.
static void scaleYarn(RopeConfig &rope, double theta, double factor, double betaFast, double betaSlow,
                      double originalPositions, bool truncate) {
  const double dimensions = 2 * double(rope.inverseFrequencies.size());
  auto findDimension = [&](double rotations) {
    return dimensions * std::log(originalPositions / (rotations * 2 * M_PI)) / (2 * std::log(theta));
  };
  double low = findDimension(betaFast);
  double high = findDimension(betaSlow);
  if (truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dimensions - 1);
  if (low == high)
    high += 0.001;
  for (size_t i = 0; i < rope.inverseFrequencies.size(); ++i) {
    double ramp = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    double frequency = rope.inverseFrequencies[i];
    rope.inverseFrequencies[i] = frequency / factor * ramp + frequency * (1 - ramp);
  }
}

static double getYarnScale(double factor, double scale) {
  return factor <= 1 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
}

namespace {

/// The RoPE parameters of a configuration, or of its layers with windows.
class RopeParameters {
public:
  RopeParameters(const JsonFile &config, const Family &family, bool ofWindows)
      : config_(config), thetaKey_("rope_theta"), defaultTheta_(family.ropeTheta), family_(family) {
    bool isNew = config.has("rope_parameters");
    table_ = isNew ? "rope_parameters" : "rope_scaling";
    if (!family.ropeByLayerType)
      return;
    if (isNew)
      table_ += ofWindows ? ".sliding_attention" : ".full_attention";
    if (!ofWindows)
      return;
    // What scales, scales full attention.
    if (!isNew)
      table_ = "";
    thetaKey_ = family.windowThetaKey;
    defaultTheta_ = family.windowTheta;
  }

  /// Whether what is there is an object of the parameters. Prints an error.
  bool check(const Family &family) const {
    const llvm::json::Value *root = config_.find("rope_parameters");
    if (family.ropeByLayerType && root &&
        (!root->getAsObject() ||
         !(config_.has("rope_parameters.full_attention") || config_.has("rope_parameters.sliding_attention")))) {
      config_.error("rope_parameters", "'rope_parameters' of " + family.name +
                                           " models is an object for each layer type: 'full_attention' and "
                                           "'sliding_attention'");
      return false;
    }
    const llvm::json::Value *table = table_.empty() ? nullptr : config_.find(table_);
    if (table && !table->getAsObject()) {
      config_.error(table_, "'" + table_ + "' is not an object");
      return false;
    }
    if (table)
      for (const auto &member : *table->getAsObject())
        if (member.second.getAsObject()) {
          config_.error(path(member.first), "rope parameters per layer type ('" + llvm::StringRef(member.first) +
                                                "') are not supported for " + family.name + " models");
          return false;
        }
    return true;
  }

  std::string getTable() const { return table_; }
  std::string path(llvm::StringRef key) const { return (table_ + "." + key).str(); }
  bool has(llvm::StringRef key) const { return !table_.empty() && config_.has(path(key)); }

  std::optional<double> getNumber(llvm::StringRef key, NumberRange range,
                                  std::optional<double> fallback = std::nullopt) const {
    return config_.getNumber(path(key), range, fallback);
  }
  std::optional<bool> getTruth(llvm::StringRef key, bool fallback) const {
    return config_.getBoolean(path(key), fallback);
  }

  std::optional<double> getTheta() const {
    return config_.getNumber(has("rope_theta") ? path("rope_theta") : thetaKey_, kRopeThetaRange, defaultTheta_);
  }

  std::string getTypePath() const { return path(has("rope_type") ? "rope_type" : "type"); }
  /// Names of before are today's; phi3's `yarn` with lists of factors was longrope.
  std::optional<std::string> getType() const {
    if (table_.empty())
      return "default";
    std::optional<std::string> type = config_.getString(getTypePath(), "default");
    if (type && (*type == "su" || (*type == "yarn" && has("short_factor"))))
      type = "longrope";
    return type;
  }

  /// Of the scaling; a member of the root goes before.
  std::optional<double> getOriginalPositions() const {
    const char *const key = "original_max_position_embeddings";
    std::optional<int64_t> own = config_.getInteger("max_position_embeddings", kPositionRange, kDefaultPositions);
    return own ? config_.getNumber(config_.has(key) ? std::string(key) : path(key), kPositions, double(*own))
               : std::nullopt;
  }

  /// The elements of a head that are rotated. Prints an error.
  std::optional<int64_t> getDimensions(int64_t headDim) const {
    std::string key = has("partial_rotary_factor") ? path("partial_rotary_factor") : "partial_rotary_factor";
    std::optional<double> partial = config_.getNumber(key, {1e-3, 1}, 1);
    if (!partial)
      return std::nullopt;
    if (*partial != 1 && !family_.rotatesPartly) {
      config_.error(key, "'" + key + "' other than 1 is not supported for " + family_.name + " models");
      return std::nullopt;
    }
    auto dimensions = static_cast<int64_t>(double(headDim) * *partial);
    if (dimensions < 2 || dimensions % 2 != 0) {
      config_.error(key, "'" + key + "' rotates " + llvm::Twine(dimensions) + " of the " + llvm::Twine(headDim) +
                             " elements of a head, expected an even number of 2 or more");
      return std::nullopt;
    }
    return dimensions;
  }

  /// A list of `count` factors. Prints an error.
  std::optional<std::vector<double>> getFactors(llvm::StringRef key, size_t count) const {
    const llvm::json::Value *value = config_.find(path(key));
    const llvm::json::Array *list = value ? value->getAsArray() : nullptr;
    std::vector<double> factors;
    if (list && list->size() == count)
      for (const llvm::json::Value &element : *list)
        if (double factor = element.getAsNumber().value_or(0); factor >= kFactor.minimum && factor <= kFactor.maximum)
          factors.push_back(factor);
    if (factors.size() == count)
      return factors;
    config_.error(path(key), "'" + path(key) + "' is not a list of " + llvm::Twine(count) + " factors from " +
                                 printNumber(kFactor.minimum) + " to " + printNumber(kFactor.maximum) +
                                 ", one for two elements that are rotated");
    return std::nullopt;
  }

  /// longrope's factor of sine and cosine.
  std::optional<double> getLongAttentionFactor() const {
    std::optional<int64_t> own = config_.getInteger("max_position_embeddings", kPositionRange, kDefaultPositions);
    std::optional<double> original = getOriginalPositions();
    if (!own || !original)
      return std::nullopt;
    std::optional<double> factor = getNumber("factor", kFactor, double(*own) / *original);
    if (!factor)
      return std::nullopt;
    double inferred = *factor <= 1 ? 1 : std::sqrt(1 + std::log(*factor) / std::log(std::max(2.0, *original)));
    return getNumber("attention_factor", kFactor, inferred);
  }

private:
  const JsonFile &config_;
  std::string table_; ///< Of the parameters; empty: there is none.
  std::string thetaKey_;
  double defaultTheta_;
  const Family &family_;
};

} // namespace

std::optional<RopeConfig> morph::readRope(const JsonFile &config, const Family &family, bool ofWindows,
                                          int64_t headDim) {
  RopeParameters given(config, family, ofWindows);
  if (!given.check(family))
    return std::nullopt;
  std::optional<double> theta = given.getTheta();
  std::optional<std::string> type = given.getType();
  std::optional<int64_t> dimensions = given.getDimensions(headDim);
  if (!theta || !type || !dimensions)
    return std::nullopt;

  RopeConfig rope = makeRope(*theta, *dimensions);
  if (ofWindows)
    rope.name = "rope_windows";
  // Up to the length that `fixContext` leaves, dynamic's frequencies are the default ones.
  if (*type == "default" || *type == "dynamic")
    return rope;
  if (*type != "linear" && *type != "llama3" && *type != "yarn" && *type != "longrope") {
    config.error(given.getTypePath(), "RoPE scaling type '" + *type + "' is not supported",
                 "supported are default, linear, dynamic, llama3, yarn and longrope");
    return std::nullopt;
  }
  if (*type == "longrope") {
    std::optional<std::vector<double>> factors = given.getFactors("short_factor", rope.inverseFrequencies.size());
    std::optional<double> attentionFactor = given.getLongAttentionFactor();
    if (!factors || !attentionFactor)
      return std::nullopt;
    for (auto [frequency, factor] : llvm::zip_equal(rope.inverseFrequencies, *factors))
      frequency /= factor;
    rope.attentionFactor = *attentionFactor;
    return rope;
  }
  std::optional<int64_t> positions = config.getInteger("max_position_embeddings", kPositionRange, kDefaultPositions);
  std::optional<double> original = given.getOriginalPositions();
  // YaRN's factor may follow from the two context lengths.
  std::optional<double> implied;
  if (*type == "yarn" && original && positions)
    implied = double(*positions) / *original;
  std::optional<double> factor = given.getNumber("factor", kFactor, implied);
  if (!factor || !original)
    return std::nullopt;
  if (*type == "linear") {
    for (double &frequency : rope.inverseFrequencies)
      frequency /= *factor;
    return rope;
  }
  if (*type == "llama3") {
    std::optional<double> low = given.getNumber("low_freq_factor", kFactor);
    std::optional<double> high = given.getNumber("high_freq_factor", kFactor);
    if (!low || !high)
      return std::nullopt;
    if (!(*high > *low)) {
      config.error(given.path("low_freq_factor"), "expected low_freq_factor < high_freq_factor");
      return std::nullopt;
    }
    scaleLlama3(rope, *factor, *low, *high, *original);
    return rope;
  }
  std::optional<double> betaFast = given.getNumber("beta_fast", kFactor, 32.0);
  std::optional<double> betaSlow = given.getNumber("beta_slow", kFactor, 1.0);
  std::optional<double> mscale = given.getNumber("mscale", kScale, 0.0);
  std::optional<double> mscaleAll = given.getNumber("mscale_all_dim", kScale, 0.0);
  std::optional<bool> truncate = given.getTruth("truncate", true);
  if (!betaFast || !betaSlow || !mscale || !mscaleAll || !truncate)
    return std::nullopt;
  double inferred = *mscale != 0 && *mscaleAll != 0 ? getYarnScale(*factor, *mscale) / getYarnScale(*factor, *mscaleAll)
                                                    : getYarnScale(*factor, 1);
  std::optional<double> attentionFactor = given.getNumber("attention_factor", kFactor, inferred);
  if (!attentionFactor)
    return std::nullopt;
  rope.attentionFactor = *attentionFactor;
  scaleYarn(rope, *theta, *factor, *betaFast, *betaSlow, *original, *truncate);
  return rope;
}

/// The object at a dotted path, made where it is not there.
static llvm::json::Object &makeObjectAt(llvm::json::Object &root, llvm::StringRef path) {
  llvm::json::Object *object = &root;
  for (llvm::StringRef name : llvm::split(path, '.')) {
    if (!object->getObject(name))
      (*object)[name.str()] = llvm::json::Object(); // A key that owns its text.
    object = object->getObject(name);
  }
  return *object;
}

std::optional<JsonFile> morph::fixContext(const JsonFile &config, const Family &family, int64_t headDim,
                                          const std::optional<ContextRequest> &request, Diagnostics &diagnostics) {
  RopeParameters given(config, family, /*ofWindows=*/false);
  if (!given.check(family))
    return std::nullopt;
  std::optional<int64_t> positions = config.getInteger("max_position_embeddings", kPositionRange, kDefaultPositions);
  std::optional<std::string> type = given.getType();
  std::optional<double> original = given.getOriginalPositions(), theta = given.getTheta();
  std::optional<int64_t> dimensions = given.getDimensions(headDim);
  if (!positions || !type || !original || !theta || !dimensions)
    return std::nullopt;
  bool isLong = *type == "longrope";
  int64_t own = isLong ? static_cast<int64_t>(*original) : *positions;
  int64_t asked = request ? request->positions : own;
  if (asked < own) {
    diagnostics.error(request->place,
                      "'model.context' is " + llvm::Twine(asked) + ", but the base is made for " + llvm::Twine(own) +
                          " positions [S31]",
                      "leave it out, or give " + llvm::Twine(own) + " or more");
    return std::nullopt;
  }
  if (asked == own && !isLong && *type != "dynamic")
    return config;

  const double growth = double(asked) / double(own);
  llvm::json::Object root = config.getRoot();
  llvm::json::Object &table = makeObjectAt(root, given.getTable());
  table.erase("type");
  if (isLong) {
    if (asked > *positions) {
      diagnostics.error(request->place, "'model.context' is " + llvm::Twine(asked) + ", but the base's longrope has " +
                                            "factors for up to " + llvm::Twine(*positions) + " positions [S31]");
      return std::nullopt;
    }
    std::optional<std::vector<double>> factors =
        given.getFactors(asked > own ? "long_factor" : "short_factor", static_cast<size_t>(*dimensions / 2));
    std::optional<double> attentionFactor = given.getLongAttentionFactor();
    if (!factors || !attentionFactor)
      return std::nullopt;
    table["rope_type"] = *type;
    for (const char *key : {"short_factor", "long_factor"})
      table[key] = llvm::json::Array(*factors);
    table["attention_factor"] = *attentionFactor;
  } else if (*type == "dynamic") {
    std::optional<double> factor = given.getNumber("factor", kFactor);
    if (!factor)
      return std::nullopt;
    double scaled = *dimensions > 2 ? *theta * std::pow(*factor * growth - (*factor - 1),
                                                        double(*dimensions) / double(*dimensions - 2))
                                    : *theta;
    table["rope_type"] = "default";
    table["rope_theta"] = scaled;
    table.erase("factor");
  } else if (*type == "default" || *type == "yarn") {
    double from = *type == "yarn" ? *original : double(own);
    table["rope_type"] = "yarn";
    table["factor"] = double(asked) / from;
    table["original_max_position_embeddings"] = static_cast<int64_t>(from);
    if (config.has("original_max_position_embeddings"))
      root["original_max_position_embeddings"] = static_cast<int64_t>(from);
  } else if (*type == "linear" || *type == "llama3") {
    std::optional<double> factor = given.getNumber("factor", kFactor);
    if (!factor)
      return std::nullopt;
    table["rope_type"] = *type;
    table["factor"] = *factor * growth;
    if (*type == "llama3" && !config.has("original_max_position_embeddings"))
      table["original_max_position_embeddings"] = static_cast<int64_t>(*original);
  }
  root["max_position_embeddings"] = asked;
  return config.with(std::move(root));
}
