// SPDX-License-Identifier: Apache-2.0
// morph: the command people type. It starts the compiler's and the runtime's programs and shows what they do.

#include "runtime/processes/Place.h"
#include "tools/morph/Commands.h"
#include "tools/morph/Process.h"
#include "tools/morph/Report.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

using namespace morph;

int main(int argc, char **argv) {
  installSignalHandlers();
  // Threads that spin while they wait make a run on a shared machine several times slower. About 50 microseconds pay:
  // the tokens of decoding are many short loops, and to wake a thread that sleeps takes as long as some of them.
  setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  setenv("GOMP_SPINCOUNT", "2000", /*overwrite=*/0);
  CLI::App app{
      "Turns a pretrained Transformer into a hybrid: a few layers keep softmax attention, the others get linear "
      "attention."};
  app.name("morph");
  app.set_version_flag("--version", "morph " MORPH_VERSION);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App *, const CLI::Error &error) {
    return std::string("morph: error: ") + error.what() +
           "\nmorph: hint: 'morph --help' and 'morph COMMAND --help' say "
           "what is expected\n";
  });
  app.footer("Exit codes: 0 done, 1 failed, 2 wrong usage or input. Specs are described in specs/README.md.");
  Action action;
  addRunCommand(app, action);
  addPlanCommand(app, action);
  addCompileCommand(app, action);
  addSelectCommand(app, action);
  addAuditCommand(app, action);
  addEvalCommand(app, action);
  addGenerateCommand(app, action);
  addChatCommand(app, action);
  addServeCommand(app, action);
  addExportCommand(app, action);
  addReportCommand(app, action);
  addPushCommand(app, action);
  addDoctorCommand(app, action);
  addBenchCommand(app, action);
  addMixersCommand(app, action);
  addSelectorsCommand(app, action);
  addFormatCommand(app, action);
  addTrackCommand(app, action);
  addInitCommand(app, action);
  addDiffCommand(app, action);
  addExplainCommand(app, action);
  addCompletionCommand(app, action);
  // CLI11 would only say that a subcommand is required.
  if (argc > 1 && argv[1][0] != '-') {
    std::string names;
    bool known = false;
    for (const CLI::App *command : app.get_subcommands([](const CLI::App *) { return true; })) {
      known |= command->get_name() == argv[1];
      names += (names.empty() ? "" : ", ") + command->get_name();
    }
    if (!known) {
      printError(Status::invalid("there is no command '" + std::string(argv[1]) + "'", "the commands are " + names));
      return 2;
    }
  }
  // CLI11 takes the next word for the value of "--flag=", whose value is empty.
  std::vector<std::string> words;
  for (int i = argc - 1; i > 0; --i) {
    std::string word = argv[i];
    if (word.rfind("--", 0) == 0 && word.find('=') == word.size() - 1) {
      words.push_back("");
      word.pop_back();
    }
    words.push_back(std::move(word));
  }
  try {
    app.parse(words); // The last word first.
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  Status status;
  try {
    status = action(Toolchain::find());
  } catch (const std::exception &error) {
    status = Status::failed(std::string("unexpected: ") + error.what(), "please report this with the command");
  }
  const std::string command = app.get_subcommands().front()->get_name();
  // Of a server a signal is the proper end, of a chat that of an answer: their fronts say how it went.
  const bool endsBySignal = command == "serve" || command == "chat";
  if (const int signal = stopSignal(); signal && !endsBySignal) {
    const bool continues = command == "run" || command == "select" || command == "audit";
    // Of several drivers the leader's speaks.
    if (const StatusOr<Place> place = findPlace(); !continues || !place.ok() || place->isLeader())
      std::fprintf(stderr, "morph: stopped%s\n", continues ? "; the same command continues" : "");
    return 128 + signal;
  }
  printError(status);
  return status.exitCode();
}
