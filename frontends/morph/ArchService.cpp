// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/ArchService.h"

#include "dialect/LinearMixers.h"
#include "frontends/morph/CheckArch.h"
#include "frontends/morph/Mixers.h"
#include "frontends/text/TextFile.h"
#include "runtime/choice/Space.h"
#include "runtime/spec/MixerName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

using namespace morph;
using namespace morph::language;

namespace {

/// The first word of a line.
struct LineWord {
  llvm::StringRef word, summary;
};
constexpr LineWord kLineWords[] = {
    {"doc", "`doc \"...\"`: what the arch is, in a line."},
    {"model", "`model \"FOLDER\"`: the base model, relative to this file's folder."},
    {"recipe", "`recipe \"FILE.toml\"`: data, tasks and stages of the run, without which Morph's own are taken."},
    {"layers", "`layers 0..9, 12 = full | gla(rank = 8) | \"mine.morph:mine\"`: what may stand in these layers (`all`: "
               "every one): `full`, mixers of this file, of Morph or of another file. The last line that names a "
               "layer counts. The second mixer of one name in a line is called `gla_2`."},
    {"tie", "`tie 0..3`: these layers, of the same candidates, take the same one."},
    {"pin", "`pin 4..6 = kda | none`: of their candidates these layers take one of these."},
    {"pattern", "`pattern one full in every 4`: in layers 0 to 3, 4 to 7 and so on exactly so many take the candidate; "
                "in what is left over at the end at most."},
    {"budget", "`budget full_layers = 2`, `budget cache_bytes = 2e6 at 32768`, `budget decode_seconds = 0.02 at 32768 "
               "by \"costs.json\"`: what the hybrid may cost. Several budgets hold together."},
};
constexpr llvm::StringRef kFullSummary = "`full`: the layer keeps the base's attention.";
constexpr llvm::StringRef kAllSummary = "`all`: every layer of the model.";

const LineWord *findLineWord(llvm::StringRef text) {
  const auto *found = llvm::find_if(kLineWords, [&](const LineWord &known) { return known.word == text; });
  return found == std::end(kLineWords) ? nullptr : found;
}

/// The number of the first token at a place or after it.
size_t findToken(llvm::ArrayRef<Token> tokens, size_t begin) {
  return llvm::partition_point(tokens, [&](const Token &token) { return token.begin < begin; }) - tokens.begin();
}

/// The bracket that is open before a token.
std::optional<size_t> findOpenParenthesis(llvm::ArrayRef<Token> tokens, size_t at) {
  for (size_t closed = 0; at-- > 0;) {
    if (tokens[at].is("(") && closed == 0)
      return at;
    closed += tokens[at].is(")");
    closed -= tokens[at].is("(");
  }
  return std::nullopt;
}

bool endsDeclaration(const Token &token) {
  return token.kind == TokenKind::End || token.is("}") || (token.startsLine && (token.is("mixer") || token.is("arch")));
}

std::string describe(const BudgetMeasure &measure) {
  return ("**" + measure.name + "**: " + measure.unit + "\n\n" + measure.summary).str();
}

std::string describe(const MixerDescription::Option &option) { return makeCode(option.line) + option.summary; }

} // namespace

std::optional<ArchService> ArchService::find(const File &file, const TokenList &list, llvm::StringRef documentPath,
                                             size_t offset) {
  llvm::ArrayRef<Token> tokens = list.tokens;
  for (size_t at = 0; at < tokens.size() && tokens[at].begin < offset; ++at) {
    if (!tokens[at].startsLine || !tokens[at].is("arch"))
      continue;
    size_t open = tokens[at + 1].kind == TokenKind::Name ? at + 2 : at + 1;
    if (!tokens[open].is("{") || tokens[open].end() > offset)
      continue;
    size_t close = open + 1;
    while (!endsDeclaration(tokens[close]))
      ++close;
    bool isOpen = !tokens[close].is("}");
    if (tokens[close].kind == TokenKind::End || offset < tokens[close].begin + (isOpen ? 0 : 1)) {
      ArchService service(file, tokens, list.comments, documentPath);
      service.readLines(open + 1, close);
      return service;
    }
  }
  return std::nullopt;
}

void ArchService::readLines(size_t begin, size_t end) {
  int64_t open = 0;
  for (size_t at = begin; at < end; ++at) {
    const Token &token = tokens_[at];
    // A bracket that has no end yet does not reach beyond the next line's word, nor does a '|' that nothing follows.
    bool isLineWord = findLineWord(token.text) && !tokens_[at + 1].is("=");
    bool goesOn = (open > 0 || tokens_[at - 1].is("|")) && !isLineWord;
    if (token.kind == TokenKind::Name && (token.startsLine || at == begin) && !goesOn) {
      if (!lines_.empty())
        lines_.back().end = at;
      lines_.push_back({at, end});
      open = 0;
    }
    open += token.is("(");
    open -= token.is(")");
  }
}

const ArchService::Line *ArchService::findLine(size_t at) const {
  auto after = llvm::partition_point(lines_, [&](const Line &line) { return line.head <= at; });
  return after == lines_.begin() ? nullptr : &*std::prev(after);
}

ArchService::Role ArchService::getRole(const Line &line, size_t at) const {
  const Token &head = tokens_[line.head], &before = tokens_[at - 1];
  if (at == line.head)
    return Role::Keyword;
  bool isSecond = at == line.head + 1, isLayers = head.is("layers"), isPin = head.is("pin");
  if (findOpenParenthesis(tokens_.slice(line.head, at - line.head), at - line.head))
    return isLayers && (before.is("(") || before.is(",")) ? Role::Option : Role::None;
  if (isSecond && (isLayers || isPin || head.is("tie")))
    return Role::All;
  if (before.is("=") || before.is("|"))
    return isLayers ? Role::Candidate : isPin ? Role::Name : Role::None;
  if (head.is("pattern") && at == line.head + 2)
    return Role::Name;
  if (head.is("budget") && isSecond)
    return Role::Measure;
  return (head.is("recipe") && isSecond) || (head.is("budget") && before.is("by")) ? Role::File : Role::None;
}

bool ArchService::isInComment(size_t offset) const {
  auto after = llvm::partition_point(comments_, [&](const Comment &comment) { return comment.begin < offset; });
  return after != comments_.begin() && offset <= std::prev(after)->begin + std::prev(after)->text.size();
}

void ArchService::readOption(Place &place, llvm::ArrayRef<Token> tokens, size_t open, size_t at) {
  size_t depth = 0;
  for (size_t other = open + 1; other + 1 < tokens.size(); ++other) {
    if (tokens[other].is(")") && depth == 0)
      break;
    if (depth == 0 && other != at && tokens[other].kind == TokenKind::Name && tokens[other + 1].is("="))
      place.given.push_back(tokens[other].text);
    depth += tokens[other].is("(");
    depth -= tokens[other].is(")");
  }
}

ArchService::Place ArchService::findPlaceInString(const Token &string, TextRange word) {
  Place place{Role::Candidate, {string.begin, string.end()}, string.text.drop_front().drop_back(), /*isString=*/true};
  if (word.begin <= string.begin)
    return place;
  size_t offset = word.begin - string.begin - 1;
  TokenList list = readTokens(place.text);
  llvm::ArrayRef<Token> tokens = list.tokens;
  size_t at = findToken(tokens, offset);
  std::optional<size_t> open = findOpenParenthesis(tokens, at);
  if (!open || !(tokens[at - 1].is("(") || tokens[at - 1].is(",")))
    return place;
  bool isEmpty = word.begin == word.end;
  Place option{Role::Option, word, place.text.substr(offset, word.end - word.begin), /*isString=*/true};
  option.isAssigned = tokens[std::min(isEmpty ? at : at + 1, tokens.size() - 1)].is("=");
  option.mixer = place.text.take_front(tokens[*open].begin);
  readOption(option, tokens, *open, isEmpty ? tokens.size() : at);
  return option;
}

ArchService::Place ArchService::findPlace(TextRange word) const {
  if (isInComment(word.begin))
    return {};
  size_t at = findToken(tokens_, word.begin);
  if (tokens_[at - 1].kind == TokenKind::String && tokens_[at - 1].end() > word.begin)
    --at;
  bool isEmpty = word.begin == word.end, stands = tokens_[at].begin <= word.begin;
  const Line *line = findLine(stands ? at : at - 1);
  std::optional<size_t> open =
      line ? findOpenParenthesis(tokens_.slice(line->head, at - line->head), at - line->head) : std::nullopt;
  Place place{Role::None, word, file_.text.slice(word.begin, word.end)};
  // A new line begins here, or the first one.
  if (isEmpty && tokens_[at].kind != TokenKind::String && !open && !tokens_[at - 1].is("|") &&
      (tokens_[at - 1].is("{") || file_.text.take_front(word.begin).rtrim(" \t").ends_with("\n")))
    place.role = Role::Keyword;
  else if (line)
    place.role = getRole(*line, at);
  if (stands && tokens_[at].kind == TokenKind::String) {
    if (place.role == Role::Candidate)
      return findPlaceInString(tokens_[at], word);
    if (place.role != Role::File)
      return {};
    place.text = tokens_[at].text.drop_front().drop_back();
    place.isString = true;
    return place;
  }
  place.isAssigned = tokens_[std::min(isEmpty ? at : at + 1, tokens_.size() - 1)].is("=");
  if (place.role == Role::Option) {
    size_t bracket = line->head + *open;
    place.mixer = tokens_[bracket - 1].text;
    readOption(place, tokens_.take_front(line->end + 1), bracket, isEmpty ? tokens_.size() : at);
  }
  return place;
}

std::vector<ArchService::Candidate> ArchService::getCandidates() const {
  std::vector<Candidate> candidates;
  for (const Line &line : lines_) {
    if (!tokens_[line.head].is("layers"))
      continue;
    llvm::StringMap<size_t> numbers;
    int64_t open = 0;
    bool isNext = false, isIn = false; // A candidate begins, or goes on.
    for (const Token &token : tokens_.slice(line.head, line.end - line.head)) {
      open += token.is("(");
      open -= token.is(")");
      if (open == 0 && (token.is("=") || token.is("|"))) {
        isNext = true;
        isIn = false;
        continue;
      }
      bool isString = token.kind == TokenKind::String;
      if (isNext) {
        isIn = isString || token.kind == TokenKind::Name;
        llvm::StringRef reference = isString ? token.text.drop_front().drop_back() : token.text;
        std::string name = mixerName(reference.str());
        if (isIn)
          candidates.push_back(
              {makeCandidateName(name, ++numbers[name]), reference, {token.begin, token.end()}, isString});
      } else if (isIn && !candidates.back().isString) {
        candidates.back().range.end = token.end();
        candidates.back().reference = file_.text.slice(candidates.back().range.begin, token.end());
      }
      isNext = false;
    }
  }
  return candidates;
}

std::optional<ArchService::Candidate> ArchService::findCandidate(llvm::StringRef name) const {
  for (Candidate &candidate : getCandidates())
    if (candidate.name == name)
      return std::move(candidate);
  return std::nullopt;
}

std::optional<MixerDescription> ArchService::findMixer(llvm::StringRef reference) const {
  // A mixer of the file comes before one that Morph has.
  if (MixerWords words = splitMixer(reference.str()); words.file.empty())
    for (const Mixer &mixer : file_.mixers)
      if (mixer.name.text == words.name)
        return describeMixer(file_, mixer);
  return language::findMixer(reference, path_);
}

std::string ArchService::describe(const Place &place) const {
  switch (place.role) {
  case Role::Keyword: {
    const LineWord *word = findLineWord(place.text);
    return word ? word->summary.str() : "";
  }
  case Role::All:
    return place.text == "all" ? kAllSummary.str() : "";
  case Role::Candidate: {
    if (place.text == kFullAttention)
      return kFullSummary.str();
    std::optional<MixerDescription> mixer = findMixer(place.text);
    return mixer ? mixer->markdown : "";
  }
  case Role::Option: {
    std::optional<MixerDescription> mixer = findMixer(place.mixer);
    if (mixer)
      for (const MixerDescription::Option &option : mixer->options)
        if (option.name == place.text)
          return ::describe(option);
    return "";
  }
  case Role::Name: {
    if (place.text == kFullAttention)
      return kFullSummary.str();
    std::optional<Candidate> candidate = findCandidate(place.text);
    std::optional<MixerDescription> mixer = candidate ? findMixer(candidate->reference) : std::nullopt;
    std::string text = candidate ? "The candidate `" + candidate->reference.str() + "`.\n\n" : "";
    return mixer ? text + mixer->markdown : text;
  }
  case Role::Measure:
    for (const BudgetMeasure &measure : getBudgetMeasures())
      if (measure.name == place.text)
        return ::describe(measure);
    return "";
  case Role::File:
  case Role::None:
    return "";
  }
  llvm_unreachable("all roles are told");
}

std::optional<Hover> ArchService::getHover(TextRange word) const {
  Place place = findPlace(word);
  std::string text = place.text.empty() ? "" : describe(place);
  return text.empty() ? std::nullopt : std::optional(Hover{place.range, text});
}

std::optional<TextPlace> ArchService::findDefinition(TextRange word) const {
  Place place = findPlace(word);
  if (place.role == Role::Candidate) {
    std::optional<MixerDescription> mixer = findMixer(place.text);
    return mixer ? mixer->place : std::nullopt;
  }
  if (place.role == Role::Name) {
    std::optional<Candidate> candidate = findCandidate(place.text);
    return candidate ? std::optional(TextPlace{"", candidate->range}) : std::nullopt;
  }
  if (place.role != Role::File || place.text.empty())
    return std::nullopt;
  std::string path = resolvePath(place.text, path_);
  llvm::Expected<uint64_t> bytes = getFileBytes(path);
  if (bytes)
    return TextPlace{path, {}};
  llvm::consumeError(bytes.takeError());
  return std::nullopt;
}

std::vector<Completion> ArchService::getCompletions(TextRange word) const {
  std::vector<Completion> completions;
  Place place = findPlace(word);
  auto add = [&](llvm::StringRef label, NameKind kind, std::string markdown, llvm::StringRef text = "") {
    completions.push_back({label.str(), kind, "", std::move(markdown), text.str(), word});
  };
  auto addAssigned = [&](llvm::StringRef name, NameKind kind, std::string markdown) {
    add((name + " =").str(), kind, std::move(markdown), place.isAssigned ? name.str() : (name + " = ").str());
  };
  switch (place.role) {
  case Role::Keyword:
    for (const LineWord &known : kLineWords)
      add(known.word, NameKind::Keyword, known.summary.str());
    break;
  case Role::All:
    add("all", NameKind::Keyword, kAllSummary.str());
    break;
  case Role::Candidate:
    if (place.isString)
      break;
    add(kFullAttention, NameKind::Keyword, kFullSummary.str());
    for (const Mixer &mixer : file_.mixers)
      add(mixer.name.text, NameKind::Mixer, describeMixer(file_, mixer).markdown);
    for (llvm::StringRef name : getBuiltinMixers())
      if (llvm::none_of(file_.mixers, [&](const Mixer &mixer) { return mixer.name.text == name; }))
        add(name, NameKind::Mixer, language::findMixer(name, path_)->markdown);
    break;
  case Role::Option:
    if (std::optional<MixerDescription> mixer = findMixer(place.mixer))
      for (const MixerDescription::Option &option : mixer->options)
        if (!llvm::is_contained(place.given, option.name))
          addAssigned(option.name, NameKind::Option, ::describe(option));
    break;
  case Role::Name: {
    llvm::StringSet<> known;
    for (const Candidate &candidate : getCandidates())
      if (known.insert(candidate.name).second)
        add(candidate.name, NameKind::Mixer, "The candidate `" + candidate.reference.str() + "`.");
    break;
  }
  case Role::Measure:
    for (const BudgetMeasure &measure : getBudgetMeasures())
      addAssigned(measure.name, NameKind::Parameter, ::describe(measure));
    break;
  case Role::File:
  case Role::None:
    break;
  }
  return completions;
}
