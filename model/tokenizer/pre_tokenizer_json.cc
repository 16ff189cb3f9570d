#include "model/tokenizer/pre_tokenizer_json.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/choice.h"
#include "base/json_object.h"
#include "base/status_macros.h"

namespace peerage {

using nlohmann::json;

namespace {

constexpr Choice<SplitBehavior> kBehaviors[] = {
    {"Isolated", SplitBehavior::kIsolated},
    {"Removed", SplitBehavior::kRemoved},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous},
};

absl::StatusOr<SplitBehavior> ReadBehavior(JsonObject& split) {
  ASSIGN_OR_RETURN(const std::string name, split.Optional("behavior", std::string()));
  if (const std::optional<SplitBehavior> behavior = FindChoice(kBehaviors, name)) return *behavior;
  return absl::UnimplementedError(absl::StrCat("pre_tokenizer Split behavior ", Quoted(name),
                                               " is not supported (", ChoiceNames(kBehaviors),
                                               " is)"));
}

absl::StatusOr<Pattern> ReadPattern(JsonObject& split) {
  const json* found = split.Find("pattern");
  if (found == nullptr || !found->is_object() || found->size() != 1) {
    return absl::InvalidArgumentError("pre_tokenizer Split has no pattern");
  }
  JsonObject pattern(*found, "pre_tokenizer Split.pattern");
  ASSIGN_OR_RETURN(const std::string regex, pattern.Optional("Regex", std::string()));
  ASSIGN_OR_RETURN(const std::string literal, pattern.Optional("String", std::string()));
  if (!regex.empty()) return Pattern::Compile(regex);
  if (!literal.empty()) return Pattern::Literal(literal);
  return absl::InvalidArgumentError("pre_tokenizer Split has an empty pattern");
}

absl::StatusOr<PreTokenizerStep> ReadSplit(const json& json) {
  JsonObject split(json, "pre_tokenizer Split");
  RETURN_IF_ERROR(split.CheckKeys({"type", "pattern", "behavior", "invert"}));
  ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(split));
  PreTokenizerStep step{.pattern = std::make_shared<const Pattern>(std::move(pattern))};
  ASSIGN_OR_RETURN(step.behavior, ReadBehavior(split));
  ASSIGN_OR_RETURN(step.invert, split.Optional("invert", false));
  return step;
}

// The steps of nested Sequences, flattened.
class Reader {
 public:
  absl::Status Read(const json& json) {
    if (!json.is_object()) {
      return absl::InvalidArgumentError("a pre_tokenizer is not a JSON object");
    }
    if (has_byte_level_) {
      return absl::UnimplementedError(
          "a pre_tokenizer after ByteLevel is not supported (ByteLevel must be the last)");
    }
    ASSIGN_OR_RETURN(const std::string type,
                     JsonObject(json, "pre_tokenizer").Optional("type", std::string()));
    if (type == "Sequence") return ReadSequence(json);
    if (type == "ByteLevel") return ReadByteLevel(json);
    if (type == "Digits") {
      JsonObject digits(json, "pre_tokenizer Digits");
      RETURN_IF_ERROR(digits.CheckKeys({"type", "individual_digits"}));
      ASSIGN_OR_RETURN(const bool individual, digits.Optional("individual_digits", false));
      steps_.push_back(DigitsStep(individual));
      return absl::OkStatus();
    }
    if (type == "Split") {
      ASSIGN_OR_RETURN(PreTokenizerStep step, ReadSplit(json));
      steps_.push_back(std::move(step));
      return absl::OkStatus();
    }
    return absl::UnimplementedError(
        absl::StrCat("pre_tokenizer ", Quoted(type),
                     " is not supported (ByteLevel, Split, Digits and Sequence are)"));
  }

  absl::StatusOr<PreTokenizer> Finish() && {
    if (!has_byte_level_) {
      return absl::UnimplementedError(
          "a pre_tokenizer without ByteLevel is not supported (ByteLevel must be the last)");
    }
    return PreTokenizer(std::move(steps_));
  }

 private:
  absl::Status ReadSequence(const json& json) {
    JsonObject sequence(json, "pre_tokenizer Sequence");
    RETURN_IF_ERROR(sequence.CheckKeys({"type", "pretokenizers"}));
    const nlohmann::json* parts = sequence.Find("pretokenizers");
    if (parts == nullptr || !parts->is_array()) {
      return absl::InvalidArgumentError("pre_tokenizer Sequence has no list of pretokenizers");
    }
    for (const nlohmann::json& part : *parts) RETURN_IF_ERROR(Read(part));
    return absl::OkStatus();
  }

  absl::Status ReadByteLevel(const json& json) {
    JsonObject byte_level(json, "pre_tokenizer ByteLevel");
    RETURN_IF_ERROR(
        byte_level.CheckKeys({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    ASSIGN_OR_RETURN(const bool add_space, byte_level.Optional("add_prefix_space", true));
    ASSIGN_OR_RETURN(const bool use_regex, byte_level.Optional("use_regex", true));
    steps_.push_back(ByteLevelStep(add_space, use_regex));
    has_byte_level_ = true;
    return absl::OkStatus();
  }

  std::vector<PreTokenizerStep> steps_;
  bool has_byte_level_ = false;
};

}  // namespace

absl::StatusOr<PreTokenizer> ReadPreTokenizer(const json& json) {
  Reader reader;
  RETURN_IF_ERROR(reader.Read(json));
  return std::move(reader).Finish();
}

}  // namespace peerage
