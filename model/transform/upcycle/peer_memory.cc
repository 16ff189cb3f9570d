#include "model/transform/upcycle/peer_memory.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/config/config_limits.h"
#include "model/checkpoint/config/product_key_config.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

constexpr absl::string_view kLayerKey = "layer";

// What a description of a memory calls an entry's key.
struct PeerKey {
  absl::string_view name;
  absl::string_view in_config = name;
};
constexpr PeerKey kPeerKeys[] = {{kLayerKey},    {"experts", "num_experts"},
                                 {"heads"},      {"top_k"},
                                 {"key_dim"},    {"expert_tables", "experts"},
                                 {"keys"},       {"query_bias"},
                                 {"query_norm"}, {"query_norm_eps"},
                                 {"score"},      {"activation"},
                                 {"glu"},        {"pre_rmsnorm"}};

ordered_json ValueOf(absl::string_view text) {
  int64_t integer = 0;
  double number = 0;
  if (absl::SimpleAtoi(text, &integer)) return integer;
  if (absl::SimpleAtod(text, &number)) return number;
  if (text == "true" || text == "false") return text == "true";
  return std::string(text);
}

absl::StatusOr<std::string> EntryKey(absl::string_view name) {
  for (const PeerKey& key : kPeerKeys) {
    if (key.name == name) return std::string(key.in_config);
  }
  const auto append_name = [](std::string* text, const PeerKey& key) {
    absl::StrAppend(text, key.name);
  };
  return absl::InvalidArgumentError(absl::StrCat(Quoted(name), " is not a known key; they are ",
                                                 absl::StrJoin(kPeerKeys, ", ", append_name)));
}

// An error about an entry of a config.json begins with a key, which the user knows by another name.
absl::Status WithOurKey(const absl::Status& error) {
  for (const PeerKey& key : kPeerKeys) {
    absl::string_view text = error.message();
    if (!absl::ConsumePrefix(&text, absl::StrCat(key.in_config, " "))) continue;
    return absl::Status(error.code(), absl::StrCat(key.name, " ", text));
  }
  return error;
}

absl::StatusOr<ordered_json> ParseFields(absl::string_view text) {
  ordered_json fields = {{"kind", "peer"}};
  for (const absl::string_view field : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    ASSIGN_OR_RETURN(const std::string key, EntryKey(parts.first));
    if (fields.contains(key)) {
      return absl::InvalidArgumentError(absl::StrCat(Quoted(parts.first), " is there twice"));
    }
    fields[key] = ValueOf(parts.second);
  }
  return fields;
}

absl::StatusOr<PeerMemory> Parse(absl::string_view text) {
  ASSIGN_OR_RETURN(ordered_json fields, ParseFields(text));
  const nlohmann::json values = fields;
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(values, ""));
  PeerMemory memory;
  ASSIGN_OR_RETURN(memory.layer,
                   object.Int(kLayerKey, {kNumLayersRange.min - 1, kNumLayersRange.max - 1}));
  RETURN_IF_ERROR(WithOurKey(ParsePeer(object, 0).status()));
  fields.erase(std::string(kLayerKey));
  memory.entry = std::move(fields);
  return memory;
}

}  // namespace

absl::StatusOr<PeerMemory> ParsePeerMemory(const std::string& text) {
  absl::StatusOr<PeerMemory> memory = Parse(text);
  if (!memory.ok()) return At(absl::StrCat("--peer ", Quoted(text)), memory.status());
  return memory;
}

}  // namespace peerage::transform
