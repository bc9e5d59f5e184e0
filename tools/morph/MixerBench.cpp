// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/MixerBench.h"

#include "runtime/base/Cpu.h"
#include "runtime/base/Intervals.h"
#include "runtime/spec/MixerName.h"
#include "tools/morph/BenchModel.h"
#include "tools/morph/Report.h"
#include "tools/morph/Validators.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>

using namespace morph;

namespace {

using OrderedJson = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr const char *kNoMixer = "none";
constexpr int64_t kDefaultLayers = 4;

struct MixerBenchArguments {
  std::string model, shape, spec, mixers, precision, out;
  std::vector<int64_t> contexts = {1024, 8192, 32768};
  int64_t layers = 0, threads = 0, repeat = 5, seed = 0;
  bool json = false;
};

/// What is measured.
struct Subject {
  Json config;                                        ///< The model's config.json.
  ModelInfo info;                                     ///< The model, as the compiler reads it.
  std::string precision;                              ///< Element type of products.
  int64_t threads = 0;                                ///< 0: all cores.
  int64_t layers = 0;                                 ///< Of the stacks that are timed.
  std::vector<std::string> mixers = {kFullAttention}; ///< References.
  std::map<std::string, std::string> declarations;    ///< Of mixers of files: digests by reference.
};

/// Layers of one model that is timed.
struct Stack {
  std::string mixer; ///< Of the layers without full attention.
  int64_t layers = 0, fullLayers = 0;
  fs::path decode = {}, score = {}; ///< Plans.
  /// Seconds of a token by context, one a round.
  std::vector<std::vector<double>> seconds = {};
};

/// A reference without its file: a table is of any machine, and says which declaration it has measured.
std::string nameOf(const std::string &mixer) {
  const MixerWords words = splitMixer(mixer);
  return words.name + words.options;
}

/// The references in a text with commas between them, "full" left out, each once.
StatusOr<std::vector<std::string>> splitMixers(const std::string &text) {
  if (std::count(text.begin(), text.end(), '(') != std::count(text.begin(), text.end(), ')'))
    return Status::invalid("--mixers '" + text + "' has a bracket without its other one");
  std::vector<std::string> mixers;
  for (const std::string &reference : splitReferences(text)) {
    const MixerWords words = splitMixer(reference);
    if (words.name.empty())
      return Status::invalid("--mixers '" + text + "' names a mixer without a name",
                             "expected for example --mixers \"full,gla(rank = 8),mine.morph:mine\"");
    const std::string mixer = (words.file.empty() ? "" : words.file + ":") + words.name + words.options;
    if (mixer == kFullAttention || std::find(mixers.begin(), mixers.end(), mixer) != mixers.end())
      continue;
    for (const std::string &other : mixers)
      if (nameOf(other) == nameOf(mixer))
        return Status::invalid("'" + other + "' and '" + mixer + "' would have one name in the table",
                               "measure them into two tables");
    mixers.push_back(mixer);
  }
  return mixers;
}

class MixerBench {
public:
  MixerBench(const Toolchain &tools, const MixerBenchArguments &arguments, fs::path folder)
      : tools_(tools), compiler_(tools), arguments_(arguments), folder_(std::move(folder)) {}

  /// The table.
  StatusOr<OrderedJson> run();

private:
  Status findSubject();
  void takeCandidates(const ChoiceSpace &space);
  Status readSpecArgument();
  Status readModelArgument();
  Status addAllMixers();
  /// A folder with the config.json of so many layers.
  StatusOr<fs::path> modelOf(int64_t layers);
  Status addStack(const std::string &mixer, int64_t layers, int64_t fullLayers);
  Status measure();
  StatusOr<double> secondsOf(const Stack &stack, int64_t context) const;
  OrderedJson makeTable() const;

  const Stack &bare() const { return stacks_[0]; }
  const Stack &bareTwice() const { return stacks_[1]; }
  /// Seconds of a layer's mixer at a context, one a round.
  std::vector<double> layerSeconds(const Stack &stack, size_t context) const;

  const Toolchain &tools_;
  Compiler compiler_;
  const MixerBenchArguments &arguments_;
  fs::path folder_;
  Subject subject_;
  /// Without mixers, and twice as many layers without; then the mixers; last the one with two kinds of layers, if any.
  std::vector<Stack> stacks_;
  bool hasMixed_ = false;
};

void MixerBench::takeCandidates(const ChoiceSpace &space) {
  for (const std::vector<Candidate> &candidates : space.layers)
    for (const Candidate &candidate : candidates)
      if (const std::string &mixer = candidate.reference;
          !mixer.empty() && std::find(subject_.mixers.begin(), subject_.mixers.end(), mixer) == subject_.mixers.end())
        subject_.mixers.push_back(mixer);
}

Status MixerBench::readSpecArgument() {
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec spec, compiler_.resolve(arguments_.spec, {}, /*configOnly=*/true,
                                                                    /*withoutTimes=*/true));
  fs::path config = fs::path(spec.model.path) / "config.json";
  if (spec.model.path.empty()) {
    config = folder_ / "base.json";
    MORPH_RETURN_IF_ERROR(compiler_.baseConfig(arguments_.spec, {}, config));
  }
  MORPH_ASSIGN_OR_RETURN(subject_.config, readJson(config.string()));
  subject_.info = spec.modelInfo;
  subject_.precision = toWord(spec.model.precision);
  subject_.threads = spec.model.threads;
  takeCandidates(spec.space);
  return Status();
}

Status MixerBench::readModelArgument() {
  fs::path model = arguments_.model.empty() ? fs::path(tools_.sourceFolder) / "specs/models/tiny-recall"
                                            : fs::absolute(arguments_.model);
  if (!arguments_.shape.empty()) {
    MORPH_ASSIGN_OR_RETURN(const ModelShape shape, ModelShape::parse(arguments_.shape));
    model = folder_ / "shape";
    MORPH_RETURN_IF_ERROR(makeFolder(model));
    MORPH_RETURN_IF_ERROR(writeJson(model / "config.json", shape.config(arguments_.precision)));
  }
  MORPH_ASSIGN_OR_RETURN(subject_.config, readJson((model / "config.json").string()));
  // What a config means, and what a spec has where it says nothing, is the compiler's to say.
  const fs::path spec = folder_ / "spec.toml";
  MORPH_RETURN_IF_ERROR(
      writeFile(spec.string(), "version = 1\n[budget]\nratio = 1.0\n[select]\nmethod = \"uniform\"\n"));
  std::vector<std::string> settings = {"model.path=" + model.string(),
                                       "model.threads=" + std::to_string(arguments_.threads)};
  if (!arguments_.precision.empty())
    settings.push_back("model.precision=" + arguments_.precision);
  std::vector<std::string> mixers;
  if (!arguments_.mixers.empty()) {
    MORPH_ASSIGN_OR_RETURN(mixers, splitMixers(arguments_.mixers));
  }
  if (!mixers.empty()) {
    settings.push_back("linear.backend=" + Json(mixers[0]).dump());
    settings.push_back("linear.candidates=" + Json(std::vector<std::string>(mixers.begin() + 1, mixers.end())).dump());
  }
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec resolved, compiler_.resolve(spec, settings, /*configOnly=*/true));
  if (!mixers.empty())
    takeCandidates(resolved.space);
  subject_.info = resolved.modelInfo;
  subject_.precision = toWord(resolved.model.precision);
  subject_.threads = resolved.model.threads;
  return Status();
}

Status MixerBench::addAllMixers() {
  const fs::path base = folder_ / "base.mlir";
  MORPH_ASSIGN_OR_RETURN(const fs::path model, modelOf(subject_.layers));
  MORPH_RETURN_IF_ERROR(compiler_.importModel(model, "", base, /*configOnly=*/true));
  MORPH_ASSIGN_OR_RETURN(const Json known, compiler_.mixers(base));
  for (const Json &mixer : known)
    if (!mixer.contains("error"))
      subject_.mixers.push_back(mixer["name"]);
  return Status();
}

Status MixerBench::findSubject() {
  MORPH_RETURN_IF_ERROR(arguments_.spec.empty() ? readModelArgument() : readSpecArgument());
  subject_.layers = arguments_.layers > 0 ? arguments_.layers : std::min<int64_t>(kDefaultLayers, subject_.info.layers);
  return arguments_.spec.empty() && arguments_.mixers.empty() ? addAllMixers() : Status();
}

StatusOr<fs::path> MixerBench::modelOf(int64_t layers) {
  fs::path model = folder_ / ("model-" + std::to_string(layers));
  Json config = subject_.config;
  config["num_hidden_layers"] = layers;
  // Kinds of layers go on as they begin.
  if (const auto kinds = config.find("layer_types"); kinds != config.end() && kinds->is_array() && !kinds->empty()) {
    const Json given = *kinds;
    *kinds = Json::array();
    for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer)
      kinds->push_back(given[layer % given.size()]);
  }
  MORPH_RETURN_IF_ERROR(makeFolder(model));
  MORPH_RETURN_IF_ERROR(writeJson(model / "config.json", config));
  return model;
}

Status MixerBench::addStack(const std::string &mixer, int64_t layers, int64_t fullLayers) {
  BenchModel model;
  MORPH_ASSIGN_OR_RETURN(model.folder, modelOf(layers));
  model.seeded = true;
  model.layers = layers;
  model.precision = subject_.precision;
  model.candidates = {mixer};
  model.fullLayers = fullLayers;
  const fs::path output = folder_ / ("stack-" + std::to_string(stacks_.size()));
  MORPH_RETURN_IF_ERROR(makeFolder(output));
  BenchCompiler compiler(tools_, model, output);
  Stack stack{mixer, layers, fullLayers};
  MORPH_ASSIGN_OR_RETURN(stack.decode, compiler.plan("decode"));
  MORPH_ASSIGN_OR_RETURN(stack.score, compiler.plan("score"));
  if (const MixerWords words = splitMixer(mixer); !words.file.empty()) {
    MORPH_ASSIGN_OR_RETURN(const fs::path base, compiler.phase("base"));
    MORPH_ASSIGN_OR_RETURN(const Json known, compiler_.mixers(base));
    for (const Json &line : known)
      if (line["name"] == words.name)
        subject_.declarations[mixer] = line["declaration"];
  }
  stack.seconds.resize(arguments_.contexts.size());
  stacks_.push_back(std::move(stack));
  return Status();
}

StatusOr<double> MixerBench::secondsOf(const Stack &stack, int64_t context) const {
  MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools_.program("morph-run"));
  Command command{{runtime, "bench", "--program", "decode", "--plan", "decode=" + stack.decode.string(), "--plan",
                   "score=" + stack.score.string(), "--length", "1", "--context", std::to_string(context), "--repeat",
                   "1", "--seed", std::to_string(arguments_.seed)},
                  /*captureOutput=*/true};
  if (subject_.threads > 0)
    command.arguments.insert(command.arguments.end(), {"--threads", std::to_string(subject_.threads)});
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  const std::string where = "the output of morph-run bench";
  MORPH_ASSIGN_OR_RETURN(const Json json, parseJson(result.output, where));
  return jsonGet<double>(json, "median_seconds", where);
}

Status MixerBench::measure() {
  const Clock::time_point begin = Clock::now();
  for (int64_t round = 0; round < arguments_.repeat; ++round) {
    for (size_t context = 0; context < arguments_.contexts.size(); ++context)
      for (size_t i = 0; i < stacks_.size(); ++i) {
        // Each stands in another place of every round.
        Stack &stack = stacks_[(i + static_cast<size_t>(round)) % stacks_.size()];
        MORPH_ASSIGN_OR_RETURN(const double seconds, secondsOf(stack, arguments_.contexts[context]));
        stack.seconds[context].push_back(seconds);
      }
    const double taken = std::chrono::duration<double>(Clock::now() - begin).count();
    if (round == 0 && arguments_.repeat > 1)
      printNote("the first of " + std::to_string(arguments_.repeat) + " rounds took " + formatDuration(taken));
  }
  return Status();
}

std::vector<double> MixerBench::layerSeconds(const Stack &stack, size_t context) const {
  std::vector<double> seconds;
  for (size_t round = 0; round < stack.seconds[context].size(); ++round)
    seconds.push_back((stack.seconds[context][round] - bare().seconds[context][round]) /
                      static_cast<double>(stack.layers));
  return seconds;
}

OrderedJson MixerBench::makeTable() const {
  std::vector<double> layers, heads;
  for (size_t context = 0; context < arguments_.contexts.size(); ++context)
    for (size_t round = 0; round < bare().seconds[context].size(); ++round) {
      const double once = bare().seconds[context][round], twice = bareTwice().seconds[context][round];
      layers.push_back((twice - once) / static_cast<double>(bare().layers));
      heads.push_back(2 * once - twice);
    }
  const double layer = std::max(0.0, median(layers)), head = std::max(0.0, median(heads));
  const auto quartiles = [](const std::vector<double> &values) {
    return OrderedJson{quantile(values, 0.25), quantile(values, 0.75)};
  };

  OrderedJson mixers = OrderedJson::array();
  for (size_t i = 0; i < subject_.mixers.size(); ++i) {
    const bool none = subject_.mixers[i] == kNoMixer;
    OrderedJson line = {
        {"mixer", nameOf(subject_.mixers[i])}, {"seconds", OrderedJson::array()}, {"quartiles", OrderedJson::array()}};
    if (const auto digest = subject_.declarations.find(subject_.mixers[i]); digest != subject_.declarations.end())
      line["declaration"] = digest->second;
    for (size_t context = 0; context < arguments_.contexts.size(); ++context) {
      const std::vector<double> seconds = layerSeconds(none ? bare() : stacks_[2 + i], context);
      line["seconds"].push_back(std::max(0.0, median(seconds)));
      line["quartiles"].push_back(quartiles(seconds));
    }
    mixers.push_back(std::move(line));
  }

  std::time_t now = std::time(nullptr);
  char date[sizeof "2026-01-01"];
  std::strftime(date, sizeof date, "%F", std::gmtime(&now));
  const ModelInfo &info = subject_.info;
  OrderedJson table = {{"version", 1},
                       {"cpu", cpuName()},
                       {"threads", threadsOf(subject_.threads)},
                       {"date", date},
                       {"precision", subject_.precision},
                       {"model",
                        {{"hidden", info.hidden},
                         {"heads", info.heads},
                         {"kv_heads", info.kvHeads},
                         {"head_dim", info.headDim},
                         {"ffn", info.ffn},
                         {"vocab", info.vocab}}},
                       {"layers", subject_.layers},
                       {"rounds", arguments_.repeat},
                       {"contexts", arguments_.contexts},
                       {"fixed",
                        {{"head", head},
                         {"head_quartiles", quartiles(heads)},
                         {"layer", layer},
                         {"layer_quartiles", quartiles(layers)}}},
                       {"mixers", std::move(mixers)}};
  if (!hasMixed_)
    return table;
  const Stack &mixed = stacks_.back();
  OrderedJson check = {{"mixer", nameOf(mixed.mixer)}, {"full_layers", mixed.fullLayers}, {"layers", mixed.layers}};
  const auto secondsAt = [&](const std::string &mixer, size_t context) {
    for (const OrderedJson &line : table["mixers"])
      if (line["mixer"] == mixer)
        return line["seconds"][context].get<double>();
    return 0.0;
  };
  for (size_t context = 0; context < arguments_.contexts.size(); ++context) {
    check["predicted"].push_back(head + layer * static_cast<double>(mixed.layers) +
                                 secondsAt(kFullAttention, context) * static_cast<double>(mixed.fullLayers) +
                                 secondsAt(nameOf(mixed.mixer), context) *
                                     static_cast<double>(mixed.layers - mixed.fullLayers));
    check["seconds"].push_back(median(mixed.seconds[context]));
  }
  table["check"] = std::move(check);
  return table;
}

StatusOr<OrderedJson> MixerBench::run() {
  MORPH_RETURN_IF_ERROR(findSubject());
  const int64_t layers = subject_.layers;
  MORPH_RETURN_IF_ERROR(addStack(kNoMixer, layers, 0));
  MORPH_RETURN_IF_ERROR(addStack(kNoMixer, 2 * layers, 0));
  std::string first;
  for (const std::string &mixer : subject_.mixers) {
    const bool full = mixer == kFullAttention;
    MORPH_RETURN_IF_ERROR(addStack(full ? kNoMixer : mixer, layers, full ? layers : 0));
    if (first.empty() && !full && mixer != kNoMixer)
      first = mixer;
  }
  hasMixed_ = !first.empty() && layers > 1;
  if (hasMixed_)
    MORPH_RETURN_IF_ERROR(addStack(first, layers, layers / 2));
  MORPH_RETURN_IF_ERROR(measure());
  return makeTable();
}

std::string microseconds(double seconds) { return formatFixed(1e6 * seconds, 1); }

/// "12.3 ± 0.4", half the distance between the quartiles behind it.
std::string cell(double seconds, const OrderedJson &quartiles) {
  return microseconds(seconds) + " ± " + microseconds((quartiles[1].get<double>() - quartiles[0].get<double>()) / 2);
}

void printTable(const OrderedJson &table) {
  std::printf("Decoding a token on %s, threads: %lld, %s. Of a layer, in µs:\n\n",
              table["cpu"].get<std::string>().c_str(), static_cast<long long>(table["threads"].get<int64_t>()),
              table["precision"].get<std::string>().c_str());
  std::vector<std::string> header = {"mixer"};
  for (const OrderedJson &context : table["contexts"]) {
    header.push_back("at " + context.dump());
    header.push_back("/ full");
  }
  Table lines(header);
  const OrderedJson &full = table["mixers"][0]["seconds"];
  for (const OrderedJson &mixer : table["mixers"]) {
    std::vector<std::string> line = {mixer["mixer"]};
    for (size_t context = 0; context < full.size(); ++context) {
      const double seconds = mixer["seconds"][context], whole = full[context];
      line.push_back(cell(seconds, mixer["quartiles"][context]));
      line.push_back(whole > 0 ? formatFixed(seconds / whole, 3) : "-");
    }
    lines.add(line);
  }
  const OrderedJson &fixed = table["fixed"];
  std::printf("%s\nBeside them a layer takes %s and a token %s.\n", lines.print().c_str(),
              cell(fixed["layer"], fixed["layer_quartiles"]).c_str(),
              cell(fixed["head"], fixed["head_quartiles"]).c_str());
  if (!table.contains("check"))
    return;
  const OrderedJson &check = table["check"];
  std::printf("A check, full attention in %lld of %lld layers and %s in the others:\n\n",
              static_cast<long long>(check["full_layers"].get<int64_t>()),
              static_cast<long long>(check["layers"].get<int64_t>()), check["mixer"].get<std::string>().c_str());
  Table checks({"context", "predicted", "measured", "difference"});
  for (size_t context = 0; context < full.size(); ++context) {
    const double predicted = check["predicted"][context], measured = check["seconds"][context];
    checks.add({table["contexts"][context].dump(), microseconds(predicted), microseconds(measured),
                formatFixed(100 * (predicted / measured - 1), 1) + " %"});
  }
  std::printf("%s", checks.print().c_str());
}

Status benchMixers(const Toolchain &tools, const MixerBenchArguments &arguments) {
  if (std::adjacent_find(arguments.contexts.begin(), arguments.contexts.end(), std::greater_equal<>()) !=
      arguments.contexts.end())
    return Status::invalid("the numbers of --contexts do not rise", "for example --contexts 1024,8192,32768");
  // Said before minutes are spent.
  if (std::error_code error;
      !arguments.out.empty() && !fs::is_directory(fs::absolute(arguments.out).parent_path(), error))
    return Status::invalid("--out " + arguments.out + ": there is no such folder");
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  MORPH_ASSIGN_OR_RETURN(const OrderedJson table, MixerBench(tools, arguments, folder.path()).run());
  if (arguments.json)
    std::printf("%s\n", table.dump(2).c_str());
  else
    printTable(table);
  return arguments.out.empty() ? Status() : writeFile(arguments.out, table.dump(2) + "\n");
}

} // namespace

void morph::addMixerBench(CLI::App &bench, Action &action) {
  auto arguments = std::make_shared<MixerBenchArguments>();
  CLI::App *command =
      bench.add_subcommand("mixers", "Seconds of each mixer in a layer of a model that decodes: a table of costs");
  const auto count = CLI::Range(int64_t(1), int64_t(1) << 30);
  CLI::Option *model =
      command->add_option("--model", arguments->model,
                          "Hugging Face folder of a base, whose config.json is read (default: the embedded base)");
  CLI::Option *shape =
      command->add_option("--shape", arguments->shape, "A Llama model instead: LAYERS,HIDDEN,HEADS,KV_HEADS,FFN,VOCAB")
          ->excludes(model);
  CLI::Option *mixers = command->add_option(
      "--mixers", arguments->mixers, "Mixers as specs name them, with commas between (default: all of 'morph mixers')");
  CLI::Option *precision = command->add_option("--precision", arguments->precision, "Element type of products (fp32)")
                               ->check(CLI::IsMember({"fp32", "bf16"}));
  CLI::Option *threads =
      command->add_option("--threads", arguments->threads, "CPU threads (default: all cores)")->check(count);
  command->add_option("--spec", arguments->spec, "A spec that says all of these: its candidates are measured")
      ->excludes(model, shape, mixers, precision, threads);
  command->add_option("--contexts", arguments->contexts, "Tokens in the caches, rising")
      ->delimiter(',')
      ->check(count)
      ->capture_default_str();
  command->add_option("--layers", arguments->layers, "Layers that are timed (default: 4, or the model's if fewer)")
      ->check(CLI::Range(int64_t(1), int64_t(1024)));
  command->add_option("--repeat", arguments->repeat, "Rounds, in each of which everything is timed once")
      ->check(CLI::Range(int64_t(1), int64_t(10000)))
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "Of weights and inputs")
      ->check(aboveZero(/*orEqual=*/true))
      ->capture_default_str();
  command->add_option("--out", arguments->out, "File for the table, which a spec's budget.costs names");
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) { return benchMixers(tools, *arguments); };
  });
}
