// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/Rope.h"

#include <cmath>
#include <limits>

using namespace morph;

/// Scaling factors and turns of a wavelength; of what may be 0; context lengths; and numbers without a range of their
/// own.
static constexpr NumberRange kFactor{1e-6, 1e6};
static constexpr NumberRange kScale{0, 1e6};
static constexpr NumberRange kPositions{double(kPositionRange.minimum), double(kPositionRange.maximum)};
static constexpr NumberRange kAnyNumber{std::numeric_limits<double>::lowest(), std::numeric_limits<double>::max()};

RopeConfig morph::makeRope(double theta, int64_t headDim) {
  RopeConfig rope;
  for (int64_t i = 0; i < headDim / 2; ++i)
    rope.inverseFrequencies.push_back(std::pow(theta, -2.0 * double(i) / double(headDim)));
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
static void scaleYarn(RopeConfig &rope, double theta, int64_t headDim, double factor, double betaFast, double betaSlow,
                      double originalPositions, bool truncate) {
  auto findDimension = [&](double rotations) {
    return double(headDim) * std::log(originalPositions / (rotations * 2 * M_PI)) / (2 * std::log(theta));
  };
  double low = findDimension(betaFast);
  double high = findDimension(betaSlow);
  if (truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(headDim - 1));
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

std::optional<RopeConfig> morph::readRope(const JsonFile &config, int64_t headDim, int64_t maxPositions) {
  std::string table = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  auto path = [&](llvm::StringRef key) { return table + "." + key.str(); };
  const llvm::json::Value *scaling = config.find(table);
  if (scaling && !scaling->getAsObject()) {
    config.error(table, "'" + table + "' is not an object");
    return std::nullopt;
  }
  if (scaling)
    for (const auto &member : *scaling->getAsObject())
      if (member.second.getAsObject()) {
        config.error(path(member.first),
                     "rope parameters per layer type ('" + llvm::StringRef(member.first) + "') are not supported");
        return std::nullopt;
      }

  std::string thetaPath = config.has(path("rope_theta")) ? path("rope_theta") : "rope_theta";
  std::optional<double> theta = config.getNumber(thetaPath, kRopeThetaRange, 10000.0);
  std::string typePath = config.has(path("rope_type")) ? path("rope_type") : path("type");
  std::optional<std::string> type = config.getString(typePath, "default");
  std::string partialPath =
      config.has(path("partial_rotary_factor")) ? path("partial_rotary_factor") : "partial_rotary_factor";
  std::optional<double> partial = config.getNumber(partialPath, kAnyNumber, 1.0);
  if (!theta || !type || !partial)
    return std::nullopt;
  if (*partial != 1) {
    config.error(partialPath, "'" + partialPath + "' other than 1 is not supported");
    return std::nullopt;
  }

  RopeConfig rope = makeRope(*theta, headDim);
  if (*type == "default")
    return rope;
  if (*type != "linear" && *type != "llama3" && *type != "yarn") {
    config.error(typePath, "RoPE scaling type '" + *type + "' is not supported",
                 "supported are default, linear, llama3 and yarn");
    return std::nullopt;
  }
  std::string originalPath = config.has("original_max_position_embeddings")
                                 ? std::string("original_max_position_embeddings")
                                 : path("original_max_position_embeddings");
  std::optional<double> original = config.getNumber(originalPath, kPositions, double(maxPositions));
  // YaRN's factor may follow from the two context lengths.
  std::optional<double> implied;
  if (*type == "yarn" && original)
    implied = double(maxPositions) / *original;
  std::optional<double> factor = config.getNumber(path("factor"), kFactor, implied);
  if (!factor || !original)
    return std::nullopt;
  if (*type == "linear") {
    for (double &frequency : rope.inverseFrequencies)
      frequency /= *factor;
    return rope;
  }
  if (*type == "llama3") {
    std::optional<double> low = config.getNumber(path("low_freq_factor"), kFactor);
    std::optional<double> high = config.getNumber(path("high_freq_factor"), kFactor);
    if (!low || !high)
      return std::nullopt;
    if (!(*high > *low)) {
      config.error(path("low_freq_factor"), "expected low_freq_factor < high_freq_factor");
      return std::nullopt;
    }
    scaleLlama3(rope, *factor, *low, *high, *original);
    return rope;
  }
  std::optional<double> betaFast = config.getNumber(path("beta_fast"), kFactor, 32.0);
  std::optional<double> betaSlow = config.getNumber(path("beta_slow"), kFactor, 1.0);
  std::optional<double> mscale = config.getNumber(path("mscale"), kScale, 0.0);
  std::optional<double> mscaleAll = config.getNumber(path("mscale_all_dim"), kScale, 0.0);
  std::optional<bool> truncate = config.getBoolean(path("truncate"), true);
  if (!betaFast || !betaSlow || !mscale || !mscaleAll || !truncate)
    return std::nullopt;
  double inferred = *mscale != 0 && *mscaleAll != 0 ? getYarnScale(*factor, *mscale) / getYarnScale(*factor, *mscaleAll)
                                                    : getYarnScale(*factor, 1);
  std::optional<double> attentionFactor = config.getNumber(path("attention_factor"), kFactor, inferred);
  if (!attentionFactor)
    return std::nullopt;
  rope.attentionFactor = *attentionFactor;
  scaleYarn(rope, *theta, headDim, *factor, *betaFast, *betaSlow, *original, *truncate);
  return rope;
}
