// SPDX-License-Identifier: Apache-2.0
// Where the driver's helpers are: the compiler's and runtime's programs beside its own, the Python environment and the
// Python scripts.

#ifndef MORPH_TOOLS_MORPH_TOOLCHAIN_H
#define MORPH_TOOLS_MORPH_TOOLCHAIN_H

#include "runtime/base/Status.h"

#include <string>
#include <vector>

namespace morph {

class Toolchain {
public:
  /// Looks beside the running program. The environment variables MORPH_PYTHON_ENV and MORPH_SOURCE_DIR win over what
  /// was known when it was built; MORPH_PYTHON and MORPH_PYTHON_PACKAGES name a program and folders of packages that
  /// are not where an environment has them (tools/python/package/_program.py sets all).
  static Toolchain find();

  std::string binFolder;                   ///< Folder of the running program.
  std::string pythonFolder;                ///< The Python environment (tools/setup).
  std::string pythonProgram;               ///< Its Python.
  std::vector<std::string> packageFolders; ///< Where its packages are.
  std::string sourceFolder;                ///< The project, or what tools/package has made of it.

  /// Full paths of a program (morph-translate, morph-opt, morph-run), Python, and a script below tools/python. Errors
  /// name what is missing and how to get it.
  StatusOr<std::string> program(const std::string &name) const;
  StatusOr<std::string> python() const;
  StatusOr<std::string> script(const std::string &name) const;
  /// The version of a package of the Python environment, "" where it has none; Python is not started.
  std::string packageVersion(const std::string &package) const;
  /// Whether this is what tools/package has made, and no build.
  bool isPacked() const;
  /// How to get Python packages that are missing.
  std::string howToInstall() const;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_TOOLCHAIN_H
