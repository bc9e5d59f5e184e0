// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Lexicon.h"

#include "runtime/base/Json.h"

#include <algorithm>
#include <set>

namespace morph {
namespace {

/// The largest vocabulary: tables by id are made of what a file says. Known models are below 2^19.
constexpr int64_t kMaximumVocabulary = 1 << 24;
constexpr int64_t kMostValueParts = 65536;

/// Reads the members of one lexicon file; every message names the file and the member.
class LexiconReader {
public:
  LexiconReader(const Json &json, const std::string &where) : json_(json), where_(where) {}

  StatusOr<Lexicon> read() {
    Lexicon lexicon;
    MORPH_ASSIGN_OR_RETURN(lexicon.vocabulary, jsonGet<int64_t>(json_, "vocabulary", where_));
    if (lexicon.vocabulary <= 0 || lexicon.vocabulary > kMaximumVocabulary)
      return error("vocabulary", "must be from 1 to " + std::to_string(kMaximumVocabulary));
    vocabulary_ = lexicon.vocabulary;
    MORPH_ASSIGN_OR_RETURN(lexicon.keys, pieces(json_, "keys"));
    MORPH_RETURN_IF_ERROR(readValues(lexicon));
    MORPH_RETURN_IF_ERROR(readWordings(lexicon));
    MORPH_ASSIGN_OR_RETURN(lexicon.keyJoin, piece("key_join"));
    MORPH_ASSIGN_OR_RETURN(lexicon.answerJoin, piece("answer_join"));
    MORPH_ASSIGN_OR_RETURN(lexicon.listJoin, piece("list_join"));
    MORPH_ASSIGN_OR_RETURN(lexicon.repeat, piece("repeat"));
    MORPH_ASSIGN_OR_RETURN(Piece breaks, piece("break_after"));
    if (!breaks.empty()) {
      lexicon.breakAfter.assign(lexicon.vocabulary, false);
      for (int64_t id : breaks)
        lexicon.breakAfter[id] = true;
    }
    return lexicon;
  }

private:
  Status error(const std::string &key, const std::string &what) const {
    return Status::invalid(where_ + ": '" + key + "' " + what);
  }

  StatusOr<Piece> ids(const Json &json, const std::string &key) const {
    if (!json.is_array())
      return error(key, "must be an array of token ids");
    Piece piece;
    for (const Json &id : json) {
      if (!id.is_number_integer() || id < 0 || id >= vocabulary_)
        return error(key, "has " + jsonExcerpt(id) + ", which is no token id below the vocabulary's size " +
                              std::to_string(vocabulary_));
      piece.push_back(id.get<int64_t>());
    }
    return piece;
  }

  StatusOr<Piece> piece(const std::string &key) const {
    if (!json_.contains(key))
      return Piece{};
    return ids(json_.at(key), key);
  }

  /// An array of different, not empty pieces: a member of the file, or an element of "alphabets".
  StatusOr<std::vector<Piece>> pieces(const Json &holder, const std::string &key) const {
    const Json *array = holder.is_object() ? (holder.contains(key) ? &holder.at(key) : nullptr) : &holder;
    if (!array || !array->is_array() || array->empty())
      return error(key, "must be an array of one or more arrays of token ids");
    std::vector<Piece> result;
    std::set<Piece> seen;
    for (const Json &element : *array) {
      MORPH_ASSIGN_OR_RETURN(Piece one, ids(element, key));
      if (one.empty())
        return error(key, "has an entry without tokens");
      if (!seen.insert(one).second)
        return error(key, "has the entry " + jsonExcerpt(element) + " twice");
      result.push_back(std::move(one));
    }
    return result;
  }

  Status readValues(Lexicon &lexicon) const {
    if (!json_.contains("alphabets") || !json_.at("alphabets").is_array() || json_.at("alphabets").empty())
      return error("alphabets", "must be an array of one or more arrays of arrays of token ids");
    for (const Json &alphabet : json_.at("alphabets")) {
      if (!alphabet.is_array())
        return error("alphabets", "must be an array of one or more arrays of arrays of token ids");
      MORPH_ASSIGN_OR_RETURN(lexicon.alphabets.emplace_back(), pieces(alphabet, "alphabets"));
    }
    MORPH_ASSIGN_OR_RETURN(std::vector<int64_t> value, jsonGet<std::vector<int64_t>>(json_, "value", where_));
    if (value.empty() || value.size() > static_cast<size_t>(kMostValueParts))
      return error("value", "must have 1 to " + std::to_string(kMostValueParts) + " parts");
    for (int64_t part : value) {
      if (part < 0 || part >= static_cast<int64_t>(lexicon.alphabets.size()))
        return error("value", "has " + std::to_string(part) + ", which is the number of no alphabet");
      lexicon.value.push_back(static_cast<size_t>(part));
    }
    std::vector<size_t> longestPiece;
    for (const std::vector<Piece> &alphabet : lexicon.alphabets) {
      longestPiece.push_back(0);
      for (const Piece &one : alphabet)
        longestPiece.back() = std::max(longestPiece.back(), one.size());
    }
    size_t longest = 0;
    for (size_t part : lexicon.value) {
      longest += longestPiece[part];
      if (longest > static_cast<size_t>(kMostValueParts))
        return error("value", "has more than " + std::to_string(kMostValueParts) + " tokens");
    }
    return Status();
  }

  Status readWordings(Lexicon &lexicon) const {
    if (!json_.contains("wordings") || !json_.at("wordings").is_object())
      return error("wordings", "must be an object with an array of wordings for each split");
    const Json &all = json_.at("wordings");
    for (Split split : kSplits) {
      const char *name = splitName(split);
      if (!all.contains(name) || !all.at(name).is_array() || all.at(name).empty())
        return error("wordings", std::string("must have one or more for ") + name);
      for (const Json &json : all.at(name)) {
        if (!json.is_object())
          return error("wordings", "must be objects of prefix, needle, link, question and lead");
        Wording &wording = lexicon.wordings[static_cast<size_t>(split)].emplace_back();
        MORPH_ASSIGN_OR_RETURN(wording.prefix, parts(json, "prefix", {}));
        MORPH_ASSIGN_OR_RETURN(wording.needle, parts(json, "needle", {"key", "value"}));
        MORPH_ASSIGN_OR_RETURN(wording.link, parts(json, "link", {"key", "source"}));
        MORPH_ASSIGN_OR_RETURN(wording.question, parts(json, "question", {"key", "keys", "value"}));
        MORPH_ASSIGN_OR_RETURN(wording.lead, parts(json, "lead", {"key", "value"}));
        if (wording.needle.empty())
          return error("needle", "must not be empty");
      }
    }
    return Status();
  }

  StatusOr<Template> parts(const Json &wording, const std::string &key, const std::set<std::string> &slots) const {
    Template result;
    if (!wording.contains(key))
      return result;
    if (!wording.at(key).is_array())
      return error(key, "must be an array of {\"tokens\": [...]} and {\"slot\": name}");
    for (const Json &element : wording.at(key)) {
      bool isTokens = element.is_object() && element.size() == 1 && element.contains("tokens");
      bool isSlot =
          element.is_object() && element.size() == 1 && element.contains("slot") && element["slot"].is_string();
      if (!isTokens && !isSlot)
        return error(key, "must be an array of {\"tokens\": [...]} and {\"slot\": name}");
      TemplatePart part;
      if (isTokens) {
        MORPH_ASSIGN_OR_RETURN(part.tokens, ids(element["tokens"], key));
      } else {
        part.slot = element["slot"].get<std::string>();
        if (!slots.count(part.slot))
          return error(key, "has the slot '" + shortened(part.slot, 40) + "', which cannot be filled there");
      }
      result.push_back(std::move(part));
    }
    return result;
  }

  const Json &json_;
  std::string where_;
  int64_t vocabulary_ = 0;
};

/// A [first, last_exclusive] key of a task as a range below the vocabulary.
StatusOr<std::pair<int64_t, int64_t>> idRange(const std::vector<int64_t> &range, const std::string &key,
                                              int64_t vocabulary, const std::string &where) {
  if (range.size() != 2)
    return Status::invalid(where + ": '" + key + "' is missing: space \"tokens\" needs it");
  if (range[0] < 0 || range[0] >= range[1] || range[1] > vocabulary)
    return Status::invalid(where + ": '" + key + "' must be [first, last_exclusive] within 0.." +
                           std::to_string(vocabulary) + ", not [" + std::to_string(range[0]) + ", " +
                           std::to_string(range[1]) + "]");
  return std::make_pair(range[0], range[1]);
}

} // namespace

StatusOr<Lexicon> parseLexicon(const std::string &text, const std::string &where) {
  MORPH_ASSIGN_OR_RETURN(Json json, parseJson(text, where));
  MORPH_ASSIGN_OR_RETURN(std::string format, jsonGet<std::string>(json, "format", where));
  MORPH_ASSIGN_OR_RETURN(int64_t version, jsonGet<int64_t>(json, "version", where));
  if (format != "morph-lexicon" || version != 2)
    return Status::invalid(where + ": this is '" + shortened(format, 40) + "' version " + std::to_string(version) +
                               "; expected 'morph-lexicon' version 2",
                           "make it again with tools/python/morph_data.py lexicon");
  return LexiconReader(json, where).read();
}

StatusOr<Lexicon> readLexicon(const std::string &path) {
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(path));
  return parseLexicon(text, path);
}

StatusOr<Lexicon> tokenLexicon(const TaskSpec &task, int64_t vocabulary) {
  std::string where = "task '" + task.name + "'";
  Lexicon lexicon;
  lexicon.vocabulary = vocabulary;
  if (task.kind != TaskSpec::Kind::Induction) { // Sequences are of values alone.
    MORPH_ASSIGN_OR_RETURN(auto keys, idRange(task.keyTokens, "key_tokens", vocabulary, where));
    for (int64_t id = keys.first; id < keys.second; ++id)
      lexicon.keys.push_back({id});
  }
  if (task.kind == TaskSpec::Kind::NearKeys)
    lexicon.keyParts = task.keyLength;
  MORPH_ASSIGN_OR_RETURN(auto values, idRange(task.valueTokens, "value_tokens", vocabulary, where));
  if (task.valueLength < 1 || task.valueLength > kMostValueParts)
    return Status::invalid(where + ": 'value_length' must be in 1.." + std::to_string(kMostValueParts) + ", not " +
                           std::to_string(task.valueLength));
  lexicon.alphabets.emplace_back();
  for (int64_t id = values.first; id < values.second; ++id)
    lexicon.alphabets[0].push_back({id});
  if (task.kind == TaskSpec::Kind::FrequentWords && lexicon.alphabets[0].size() < 2)
    return Status::invalid(where + ": 'value_tokens' must have 2 different values or more: the noise, and what asks");
  lexicon.value.assign(static_cast<size_t>(task.valueLength), 0);
  if (!task.noiseTokens.empty()) {
    MORPH_ASSIGN_OR_RETURN(auto noise, idRange(task.noiseTokens, "noise_tokens", vocabulary, where));
    lexicon.noiseBegin = noise.first;
    lexicon.noiseEnd = noise.second;
    for (int64_t id = noise.first; id < noise.second; ++id)
      lexicon.repeat.push_back(id);
  }
  Wording wording;
  wording.needle = {{{}, "key"}};
  const bool asksForKeys = task.kind == TaskSpec::Kind::CommonWords || task.kind == TaskSpec::Kind::FrequentWords;
  if (asksForKeys) {
    wording.question = {{{values.second - 1}, ""}};
  } else {
    if (task.kind != TaskSpec::Kind::Counting)
      wording.needle.push_back({{}, "value"});
    wording.lead = {{{}, task.kind == TaskSpec::Kind::VariableTracking ? "value" : "key"}};
  }
  wording.link = {{{}, "key"}, {{}, "source"}};
  lexicon.wordings[static_cast<size_t>(Split::Training)] = {wording};
  return lexicon;
}

} // namespace morph
