#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>

namespace peerage::client {

// JSON that keeps the order of its keys.
using Json = nlohmann::ordered_json;

// A message for machines, under the fields' own names: numbers are numbers (but integers beyond
// 2^53, which many readers would round, are strings), durations are seconds, times are RFC 3339,
// enums are the words that options take ("mixture_ffn", "recent", "end_of_sequence"), bytes are
// base64, maps are objects. Fields that hold nothing are there, except for messages and for
// optional fields that are unset.
Json ToJson(const google::protobuf::Message& message);

// On indented lines, with the last one ended. What is not UTF-8 becomes U+FFFD.
std::string JsonText(const Json& json);
// On one line, ended: a line of JSONL.
std::string JsonLine(const Json& json);

}  // namespace peerage::client
