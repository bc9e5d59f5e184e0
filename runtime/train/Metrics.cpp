// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Metrics.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/base/Json.h"

#include <cerrno>
#include <fcntl.h>
#include <sstream>
#include <unistd.h>

namespace morph {

using OrderedJson = nlohmann::ordered_json;

StatusOr<MetricsFile> MetricsFile::open(const std::string &path, const std::string &stage, const std::string &variant,
                                        int64_t step) {
  MetricsFile metrics;
  metrics.path_ = path;
  metrics.stage_ = stage;
  metrics.variant_ = variant;
  if (::access(path.c_str(), F_OK) != 0)
    return metrics;
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(path));
  std::istringstream lines(text);
  std::string kept, line;
  while (std::getline(lines, line)) {
    const StatusOr<Json> value = parseJson(line, path);
    if (!value.ok() || !value->is_object())
      continue; // torn by a kill
    const StatusOr<int64_t> ofStep = jsonGetOr<int64_t>(*value, "step", 0, path);
    const StatusOr<std::string> ofVariant = jsonGetOr<std::string>(*value, "variant", "", path);
    if (!ofStep.ok() || !ofVariant.ok())
      return Status::invalid("'" + path + "' has a line that this program has not written: " + shortened(line, 60));
    if (*ofStep > step && *ofVariant == variant)
      continue;
    kept += line + "\n";
  }
  if (kept != text)
    MORPH_RETURN_IF_ERROR(writeFile(path, kept));
  return metrics;
}

Status MetricsFile::append(const OrderedJson &line) {
  if (path_.empty())
    return Status();
  OrderedJson whole;
  whole["stage"] = stage_;
  if (!variant_.empty())
    whole["variant"] = variant_;
  whole.update(line);
  const std::string text = whole.dump() + "\n";
  const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  // One write call, unless the disk is nearly full: a kill leaves at most a torn last line, which `open` removes.
  size_t written = 0;
  for (ssize_t count = 1; file >= 0 && written < text.size() && count > 0; written += count > 0 ? count : 0)
    count = ::write(file, text.data() + written, text.size() - written);
  const Status status = written < text.size() ? systemError("cannot append to '" + path_ + "'", errno) : Status();
  if (file >= 0)
    ::close(file);
  return status;
}

} // namespace morph
