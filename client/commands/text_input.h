#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace peerage::client {

// All errors are INVALID_ARGUMENT and begin with `option`, or with what else a user calls the text.

// The whole of a file, or of standard input for "-". Refused unless it is UTF-8, with the place of
// the first byte that is not: nothing else can be sent.
absl::StatusOr<std::string> ReadText(const std::string& option, const std::string& path);

// Token ids: "1,2,3", or a file of such ("-" is standard input). Commas, white space and the
// brackets of JSON stand between them; at least one.
absl::StatusOr<std::vector<uint32_t>> ReadIds(const std::string& option, const std::string& given);

// One line of a file of many texts: the text, or the object of a line of JSONL.
struct InputLine {
  size_t number = 0;  // from 1
  std::string text;
  std::optional<nlohmann::json> object;
};

// The lines that are not blank, without their ends. `format` is "lines", "jsonl", or "auto": JSONL
// when the file's name or its first line say so. At least one line.
absl::StatusOr<std::vector<InputLine>> ReadLines(const std::string& option, const std::string& path,
                                                 const std::string& format);

// Token ids of a list in JSON, such as [1, 2].
absl::StatusOr<std::vector<uint32_t>> IdsOfJson(const std::string& key, const nlohmann::json& list);

}  // namespace peerage::client
