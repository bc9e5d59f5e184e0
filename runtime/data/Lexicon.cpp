// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Lexicon.h"

#include "runtime/base/Json.h"

#include <set>

namespace morph {
namespace {

/// The largest vocabulary: tables by id are made of what a file says. Known models are below 2^19.
constexpr int64_t kMaximumVocabulary = 1 << 24;

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
    MORPH_ASSIGN_OR_RETURN(lexicon.keys, pieces("keys"));
    MORPH_ASSIGN_OR_RETURN(lexicon.values, pieces("values"));
    MORPH_ASSIGN_OR_RETURN(lexicon.valueAtoms, jsonGetOr<int64_t>(json_, "value_atoms", 1, where_));
    if (lexicon.valueAtoms < 1 || lexicon.valueAtoms > 65536)
      return error("value_atoms", "must be in 1..65536");
    MORPH_ASSIGN_OR_RETURN(lexicon.prefix, parts("prefix", {}));
    MORPH_ASSIGN_OR_RETURN(lexicon.needle, parts("needle", {"key", "value"}));
    MORPH_ASSIGN_OR_RETURN(lexicon.link, parts("link", {"key", "source"}));
    MORPH_ASSIGN_OR_RETURN(lexicon.question, parts("question", {"key", "keys", "value"}));
    MORPH_ASSIGN_OR_RETURN(lexicon.lead, parts("lead", {"key", "value"}));
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
    if (lexicon.needle.empty())
      return error("needle", "must not be empty");
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

  StatusOr<std::vector<Piece>> pieces(const std::string &key) const {
    if (!json_.contains(key) || !json_.at(key).is_array() || json_.at(key).empty())
      return error(key, "must be an array of one or more arrays of token ids");
    std::vector<Piece> result;
    for (const Json &element : json_.at(key)) {
      MORPH_ASSIGN_OR_RETURN(Piece one, ids(element, key));
      if (one.empty())
        return error(key, "has an entry without tokens");
      result.push_back(std::move(one));
    }
    return result;
  }

  StatusOr<Template> parts(const std::string &key, const std::set<std::string> &slots) const {
    Template result;
    if (!json_.contains(key))
      return result;
    if (!json_.at(key).is_array())
      return error(key, "must be an array of {\"tokens\": [...]} and {\"slot\": name}");
    for (const Json &element : json_.at(key)) {
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
  if (format != "morph-lexicon" || version != 1)
    return Status::invalid(where + ": this is '" + shortened(format, 40) + "' version " + std::to_string(version) +
                               "; expected 'morph-lexicon' version 1",
                           "make it again with tools/python/morph_data.py lexicon");
  return LexiconReader(json, where).read();
}

StatusOr<Lexicon> readLexicon(const std::string &path) {
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(path));
  return parseLexicon(text, path);
}

StatusOr<Lexicon> tokenLexicon(const TaskSpec &task, int64_t vocabulary) {
  std::string where = "task '" + task.name + "'";
  MORPH_ASSIGN_OR_RETURN(auto keys, idRange(task.keyTokens, "key_tokens", vocabulary, where));
  MORPH_ASSIGN_OR_RETURN(auto values, idRange(task.valueTokens, "value_tokens", vocabulary, where));
  Lexicon lexicon;
  lexicon.vocabulary = vocabulary;
  lexicon.valueAtoms = task.valueLength;
  if (lexicon.valueAtoms < 1 || lexicon.valueAtoms > 65536)
    return Status::invalid(where + ": 'value_length' must be in 1..65536, not " + std::to_string(lexicon.valueAtoms));
  for (int64_t id = keys.first; id < keys.second; ++id)
    lexicon.keys.push_back({id});
  for (int64_t id = values.first; id < values.second; ++id)
    lexicon.values.push_back({id});
  if (!task.noiseTokens.empty()) {
    MORPH_ASSIGN_OR_RETURN(auto noise, idRange(task.noiseTokens, "noise_tokens", vocabulary, where));
    lexicon.noiseBegin = noise.first;
    lexicon.noiseEnd = noise.second;
    for (int64_t id = noise.first; id < noise.second; ++id)
      lexicon.repeat.push_back(id);
  }
  lexicon.needle = {{{}, "key"}, {{}, "value"}};
  lexicon.link = {{{}, "key"}, {{}, "source"}};
  lexicon.lead = {{{}, task.kind == TaskSpec::Kind::VariableTracking ? "value" : "key"}};
  return lexicon;
}

} // namespace morph
