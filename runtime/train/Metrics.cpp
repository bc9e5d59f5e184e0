// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Metrics.h"

#include "runtime/base/Json.h"
#include "runtime/train/FileIo.h"

#include <cerrno>
#include <cstring>
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
    const Json value = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object())
      continue; // torn by a kill
    const bool mine = value.value("stage", "") == stage && value.value("variant", "") == variant;
    if (mine && (step == 0 || value.value("step", int64_t(0)) > step))
      continue;
    kept += line + "\n";
  }
  if (kept != text)
    MORPH_RETURN_IF_ERROR(writeTextAtomic(path, kept));
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
  // One write call: a kill leaves at most a torn last line, which `open` removes.
  if (file < 0 || ::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    const std::string reason = std::strerror(errno);
    if (file >= 0)
      ::close(file);
    return Status::failed("cannot append to '" + path_ + "': " + reason);
  }
  ::close(file);
  return Status();
}

} // namespace morph
