// SPDX-License-Identifier: Apache-2.0
// morph completion: a shell's completion of morph's commands and options, made from what CLI11 knows of them.

#include "tools/morph/Commands.h"

#include <cstdio>
#include <functional>

using namespace morph;

namespace {

struct Option {
  std::vector<std::string> names; ///< "--json", "-o".
  bool takesValue = false;
  std::vector<std::string> choices; ///< Of the value; empty: anything, files among it.
  std::string text;
};

/// The app (an empty path), a command or one of its own commands.
struct CompletedCommand {
  std::string path; ///< "run", "bench mixers".
  std::string text;
  std::vector<std::string> words;    ///< Names of its commands and choices of its positional arguments.
  std::vector<std::string> children; ///< Paths of its commands.
  std::vector<Option> options;
};

/// "fp32", "bf16" of "TEXT:{fp32,bf16}", as CLI11 writes IsMember; nothing of other types.
std::vector<std::string> choicesOf(const CLI::Option &option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.rfind('}');
  return open == std::string::npos || close == std::string::npos
             ? std::vector<std::string>()
             : CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

void gather(const CLI::App &app, const std::string &path, std::vector<CompletedCommand> &commands) {
  CompletedCommand command{path, app.get_description(), {}, {}, {}};
  for (const CLI::Option *option : app.get_options()) {
    if (option->get_positional()) {
      for (const std::string &choice : choicesOf(*option))
        command.words.push_back(choice);
      if (!option->nonpositional())
        continue;
    }
    Option entry{{}, option->get_items_expected_max() > 0, choicesOf(*option), option->get_description()};
    for (const std::string &name : option->get_lnames())
      entry.names.push_back("--" + name);
    for (const std::string &name : option->get_snames())
      entry.names.push_back("-" + name);
    command.options.push_back(std::move(entry));
  }
  const auto subcommands = app.get_subcommands([](const CLI::App *) { return true; });
  for (const CLI::App *child : subcommands) {
    command.words.push_back(child->get_name());
    command.children.push_back(path.empty() ? child->get_name() : path + " " + child->get_name());
  }
  commands.push_back(command);
  for (size_t i = 0; i < subcommands.size(); ++i)
    gather(*subcommands[i], command.children[i], commands);
}

/// Within single quotes of a shell.
std::string quote(std::string text, const std::string &apostrophe = "'\\''") {
  for (size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += apostrophe.size())
    text.replace(at, 1, apostrophe);
  return "'" + text + "'";
}

std::string join(const std::vector<std::string> &words, const std::string &between) {
  return CLI::detail::join(words, between);
}

/// Patterns of a shell's `case` that go from a command to one of its own: `" run"|"bench mixers"`.
std::vector<std::string> stepsOf(const std::vector<CompletedCommand> &commands) {
  std::vector<std::string> steps;
  for (const CompletedCommand &command : commands)
    if (!command.path.empty())
      steps.push_back(quote(command.path.find(' ') == std::string::npos ? " " + command.path : command.path));
  return steps;
}

std::string makeBash(const std::vector<CompletedCommand> &commands) {
  std::string choices, words;
  std::vector<std::string> files; // Bash completes them where it is given no words.
  for (const CompletedCommand &command : commands) {
    std::vector<std::string> names;
    for (const Option &option : command.options)
      for (const std::string &name : option.names) {
        const std::string pattern = quote(command.path + " " + name);
        names.push_back(name);
        if (!option.choices.empty())
          choices += "    " + pattern + ") words=" + quote(join(option.choices, " ")) + " ;;\n";
        else if (option.takesValue)
          files.push_back(pattern);
      }
    words += "        " + quote(command.path) + ") words=" + quote(join(command.words, " ")) +
             "; [[ $current == -* ]] && words=" + quote(join(names, " ")) + " ;;\n";
  }
  return "# In ~/.bashrc: eval \"$(morph completion bash)\"\n"
         "_morph() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= words= i\n"
         "  # To bash '=' is a word.\n"
         "  case = in\n"
         "    \"$current\") current= ;;\n"
         "    \"$previous\") previous=${COMP_WORDS[COMP_CWORD - 2]} ;;\n"
         "  esac\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case \"$command ${COMP_WORDS[i]}\" in\n"
         "      " +
         join(stepsOf(commands), " | ") +
         ") command=${command:+$command }${COMP_WORDS[i]} ;;\n"
         "    esac\n"
         "  done\n"
         "  case \"$command $previous\" in\n" +
         choices + "    " + join(files, " | ") +
         ") ;;\n"
         "    *)\n"
         "      case \"$command\" in\n" +
         words +
         "      esac ;;\n"
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "}\n"
         "complete -o bashdefault -o default -F _morph morph\n";
}

/// Brackets and colons have meanings in what zsh is told.
std::string escapeZsh(const std::string &text) {
  std::string escaped;
  for (const char c : text)
    escaped += (c == '[' || c == ']' || c == ':' || c == '\\' ? "\\" : "") + std::string(1, c);
  return escaped;
}

std::string makeZsh(const std::vector<CompletedCommand> &commands) {
  std::string cases;
  for (const CompletedCommand &command : commands) {
    cases += "    " + quote(command.path) + ")\n";
    std::string arguments;
    for (const Option &option : command.options)
      for (const std::string &name : option.names) {
        std::string value = !option.takesValue       ? ""
                            : option.choices.empty() ? ":value:_files"
                                                     : ":value:(" + join(option.choices, " ") + ")";
        // Of an option that may be given several times the others are left, too.
        arguments += " \\\n        " + quote("*" + name + "[" + escapeZsh(option.text) + "]" + value);
      }
    std::string described;
    for (const std::string &word : command.words) {
      std::string text;
      for (const CompletedCommand &child : commands)
        if (child.path == (command.path.empty() ? word : command.path + " " + word))
          text = child.text;
      described += " " + quote(escapeZsh(word) + (text.empty() ? "" : ":" + escapeZsh(text)));
    }
    if (!described.empty())
      cases += "      local -a choices=(" + described.substr(1) + ")\n";
    cases += "      _arguments" + arguments + " \\\n        " +
             (described.empty() ? quote("*:file:_files") : quote("*:word:{_describe word choices}")) + " ;;\n";
  }
  return "#compdef morph\n"
         "# In ~/.zshrc: source <(morph completion zsh), or in a file _morph on $fpath\n"
         "_morph() {\n"
         "  local command= i depth=1\n"
         "  for ((i = 2; i < CURRENT; i++)); do\n"
         "    case \"$command $words[i]\" in\n"
         "      " +
         join(stepsOf(commands), " | ") +
         ") command=${command:+$command }$words[i]; depth=$i ;;\n"
         "    esac\n"
         "  done\n"
         "  words=(\"${(@)words[depth,-1]}\")\n"
         "  ((CURRENT -= depth - 1))\n"
         "  case $command in\n" +
         cases +
         "  esac\n"
         "}\n"
         "if [[ $funcstack[1] == _morph ]]; then _morph \"$@\"; else compdef _morph morph; fi\n";
}

std::string makeFish(const std::vector<CompletedCommand> &commands) {
  std::vector<std::string> steps = stepsOf(commands);
  std::string lines;
  for (const CompletedCommand &command : commands) {
    const auto quoteFish = [](const std::string &text) { return quote(text, "\\'"); };
    const std::string line = "complete -c morph -n " + quoteFish("__morph_at " + quote(command.path, "\\'")) + " ";
    for (const std::string &word : command.words) {
      std::string text;
      for (const CompletedCommand &child : commands)
        if (child.path == (command.path.empty() ? word : command.path + " " + word))
          text = child.text;
      lines += line + "-f -a " + quoteFish(word) + (text.empty() ? "" : " -d " + quoteFish(text)) + "\n";
    }
    for (const Option &option : command.options) {
      lines += line;
      for (const std::string &name : option.names)
        lines += name.rfind("--", 0) == 0 ? "-l " + name.substr(2) + " " : "-s " + name.substr(1) + " ";
      lines +=
          (option.takesValue ? option.choices.empty() ? "-r " : "-x -a " + quoteFish(join(option.choices, " ")) + " "
                             : "") +
          "-d " + quoteFish(option.text) + "\n";
    }
  }
  return "# In ~/.config/fish/config.fish: morph completion fish | source\n"
         "function __morph_at\n"
         "  set -l command ''\n"
         "  for word in (commandline -opc)[2..]\n"
         "    switch \"$command $word\"\n"
         "      case " +
         join(steps, " ") +
         "\n"
         "        set command (string trim -- \"$command $word\")\n"
         "    end\n"
         "  end\n"
         "  test \"$command\" = \"$argv[1]\"\n"
         "end\n" +
         lines;
}

struct Shell {
  const char *name;
  std::string (*make)(const std::vector<CompletedCommand> &);
};
constexpr Shell kShells[] = {{"bash", makeBash}, {"zsh", makeZsh}, {"fish", makeFish}};

} // namespace

void morph::addCompletionCommand(CLI::App &app, Action &action) {
  auto shell = std::make_shared<std::string>();
  CLI::App *command =
      app.add_subcommand("completion", "Print the completion of morph's commands and options for a shell");
  std::vector<std::string> names;
  for (const Shell &known : kShells)
    names.push_back(known.name);
  command->add_option("SHELL", *shell, "The shell")->required()->check(CLI::IsMember(names));
  command->callback([&app, &action, shell] {
    action = [&app, shell](const Toolchain &) {
      std::vector<CompletedCommand> commands;
      gather(app, "", commands);
      for (const Shell &known : kShells)
        if (known.name == *shell)
          std::printf("%s", known.make(commands).c_str());
      return Status();
    };
  });
}
