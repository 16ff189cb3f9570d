#include "client/message_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/reflection.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/number_text.h"
#include "client/expert_layers.h"

namespace peerage::client {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int64_t kExactInDoubles = int64_t{1} << 53;

Json WholeNumber(int64_t number) {
  const bool exact = -kExactInDoubles <= number && number <= kExactInDoubles;
  return exact ? Json(number) : Json(absl::StrCat(number));
}

Json WholeNumber(uint64_t number) {
  return number <= kExactInDoubles ? Json(number) : Json(absl::StrCat(number));
}

// "end_of_sequence" of FINISH_REASON_END_OF_SEQUENCE: what stands in front is what stands in front
// of UNSPECIFIED, too.
std::string EnumWord(const EnumValueDescriptor& value) {
  if (value.type() == v1::ExpertLayerKind_descriptor()) {
    return ExpertKindName(static_cast<v1::ExpertLayerKind>(value.number()));
  }
  absl::string_view prefix = value.type()->value(0)->name();
  if (!absl::ConsumeSuffix(&prefix, "UNSPECIFIED")) prefix = "";
  return absl::AsciiStrToLower(absl::StripPrefix(value.name(), prefix));
}

// Durations and times: null for all other messages.
Json WellKnown(const Message& message) {
  if (const auto* duration = dynamic_cast<const google::protobuf::Duration*>(&message)) {
    // One division, so that no digits of rounding show.
    return (static_cast<double>(duration->seconds()) * 1e9 + duration->nanos()) / 1e9;
  }
  if (const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    return absl::FormatTime(
        "%Y-%m-%dT%H:%M:%E*SZ",
        absl::FromUnixSeconds(time->seconds()) + absl::Nanoseconds(time->nanos()),
        absl::UTCTimeZone());
  }
  return nullptr;
}

// Reads one value of a field, repeated or not, by protobuf's reflection.
class FieldReader {
 public:
  FieldReader(const Message& message, const FieldDescriptor& field)
      : message_(message), field_(field), reflection_(*message.GetReflection()) {}

  Json Read() const {
    if (!field_.is_repeated()) return One(-1);
    if (field_.is_map()) return Entries();
    Json list = Json::array();
    const int size = reflection_.FieldSize(message_, &field_);
    for (int i = 0; i < size; ++i) list.push_back(One(i));
    return list;
  }

 private:
  // A map's keys become texts, in their order: its own changes from run to run.
  Json Entries() const {
    nlohmann::json entries = nlohmann::json::object();
    const int size = reflection_.FieldSize(message_, &field_);
    for (int i = 0; i < size; ++i) {
      const Json entry = ToJson(Part(i));
      const Json& key = entry["key"];
      entries[key.is_string() ? key.get<std::string>() : key.dump()] = entry["value"];
    }
    return entries;
  }

  // The value at `i`, or of a field that is not repeated.
  template <typename T>
  T Get(T (Reflection::*single)(const Message&, const FieldDescriptor*) const,
        T (Reflection::*repeated)(const Message&, const FieldDescriptor*, int) const, int i) const {
    return i < 0 ? (reflection_.*single)(message_, &field_)
                 : (reflection_.*repeated)(message_, &field_, i);
  }

  std::string Text(int i) const {
    return Get(&Reflection::GetString, &Reflection::GetRepeatedString, i);
  }

  const Message& Part(int i) const {
    return i < 0 ? reflection_.GetMessage(message_, &field_)
                 : reflection_.GetRepeatedMessage(message_, &field_, i);
  }

  Json One(int i) const {
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return Get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32, i);
      case FieldDescriptor::CPPTYPE_UINT32:
        return Get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32, i);
      case FieldDescriptor::CPPTYPE_INT64:
        return WholeNumber(Get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64, i));
      case FieldDescriptor::CPPTYPE_UINT64:
        return WholeNumber(Get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64, i));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return ShortestDecimal(Get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat, i));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble, i);
      case FieldDescriptor::CPPTYPE_BOOL:
        return Get(&Reflection::GetBool, &Reflection::GetRepeatedBool, i);
      case FieldDescriptor::CPPTYPE_ENUM:
        return EnumWord(*Get(&Reflection::GetEnum, &Reflection::GetRepeatedEnum, i));
      case FieldDescriptor::CPPTYPE_STRING:
        return field_.type() == FieldDescriptor::TYPE_BYTES ? absl::Base64Escape(Text(i)) : Text(i);
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return ToJson(Part(i));
    }
    return nullptr;
  }

  const Message& message_;
  const FieldDescriptor& field_;
  const Reflection& reflection_;
};

}  // namespace

Json ToJson(const Message& message) {
  if (Json value = WellKnown(message); !value.is_null()) return value;
  Json object = Json::object();
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const bool unset = field.has_presence() && !message.GetReflection()->HasField(message, &field);
    if (!unset) object[field.name()] = FieldReader(message, field).Read();
  }
  return object;
}

std::string JsonText(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string JsonLine(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace peerage::client
